-- People, their workspaces and how they prove who they are.

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text NOT NULL CHECK (email = lower(email)),
    name          text NOT NULL,
    password_hash text NOT NULL,
    is_operator   boolean NOT NULL DEFAULT false,
    zone          text NOT NULL DEFAULT 'UTC',
    theme         text NOT NULL DEFAULT 'auto' CHECK (theme IN ('auto', 'light', 'dark')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    UNIQUE (email)
);
CALL serve('users');

CREATE TABLE workspaces (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL serve('workspaces');

CREATE TABLE members (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    role         text NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX members_user_idx ON members (user_id);
CALL protect('members', 'SELECT');

-- A browser's cookie or an API token; only the SHA-256 of the secret is kept.
CREATE TABLE sessions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    secret       bytea NOT NULL UNIQUE,
    kind         text NOT NULL CHECK (kind IN ('browser', 'api')),
    user_id      bigint NOT NULL REFERENCES users,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_agent   text NOT NULL DEFAULT '',
    address      text NOT NULL DEFAULT '',
    signed_in_at timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX sessions_user_idx ON sessions (user_id) WHERE revoked_at IS NULL;
CALL serve('sessions');

-- Failed sign-ins per account and per address; the last times only.
CREATE TABLE sign_in_failures (
    key        text PRIMARY KEY,
    failed_at  timestamptz[] NOT NULL,
    blocked_until timestamptz
);
CALL serve('sign_in_failures');
