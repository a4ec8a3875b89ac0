CREATE TABLE IF NOT EXISTS apps (client_key TEXT PRIMARY KEY, changes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS creators (
  id INTEGER PRIMARY KEY, platform TEXT NOT NULL, username TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL, switches TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
  digest TEXT PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, scopes TEXT NOT NULL,
  redirect_uri TEXT, challenge TEXT, expires_at REAL NOT NULL, used_at REAL);
CREATE TABLE IF NOT EXISTS grants (
  id INTEGER PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, open_id TEXT NOT NULL,
  scopes TEXT NOT NULL, refresh_digest TEXT NOT NULL UNIQUE, refresh_expires_at REAL NOT NULL, ended_at REAL);
CREATE TABLE IF NOT EXISTS access_tokens (
  digest TEXT PRIMARY KEY, grant_id INTEGER NOT NULL REFERENCES grants, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
  platform TEXT, step TEXT, count INTEGER NOT NULL, PRIMARY KEY (platform, step));
CREATE TABLE IF NOT EXISTS allowed (key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS allowed_key_at ON allowed (key, at);
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, fault TEXT NOT NULL, step TEXT NOT NULL, account TEXT,
  remaining INTEGER, rate REAL, seed TEXT NOT NULL, seconds REAL NOT NULL, reason TEXT,
  seen INTEGER NOT NULL DEFAULT 0, fired INTEGER NOT NULL DEFAULT 0, armed_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS later (
  id INTEGER PRIMARY KEY AUTOINCREMENT, due_at REAL NOT NULL, act TEXT NOT NULL, arguments TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, publish_id TEXT NOT NULL UNIQUE, upload_id TEXT UNIQUE,
  upload_digest TEXT, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, open_id TEXT NOT NULL,
  kind TEXT NOT NULL, source TEXT NOT NULL, urls TEXT NOT NULL, wishes TEXT NOT NULL, title TEXT NOT NULL,
  privacy_level TEXT NOT NULL, total_bytes INTEGER NOT NULL, chunk_bytes INTEGER NOT NULL,
  chunk_count INTEGER NOT NULL, received_bytes INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
  expires_at REAL NOT NULL, finished_at REAL, ready_at REAL, public_at REAL, verdict TEXT, decided_at REAL,
  post_id TEXT, duration_s REAL, width_px INTEGER, height_px INTEGER,
  sent_on_at REAL, file_gone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS posts_creator ON posts (creator_id, created_at);
CREATE TABLE IF NOT EXISTS ledger (
  number INTEGER PRIMARY KEY AUTOINCREMENT, platform TEXT NOT NULL, publish_id TEXT NOT NULL UNIQUE,
  id TEXT NOT NULL UNIQUE, account TEXT NOT NULL, title TEXT NOT NULL, bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, rejected TEXT);
