-- What goes out, where, when, and the ledger that makes it go out once and only once.

CREATE TABLE publications (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    video_id     bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, video_id) REFERENCES videos (workspace_id, id)
);
CREATE INDEX publications_video_idx ON publications (workspace_id, video_id);
CALL protect('publications');

CREATE TABLE targets (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id   bigint NOT NULL,
    publication_id bigint NOT NULL,
    video_id       bigint NOT NULL,
    account_id     bigint NOT NULL,
    platform       text NOT NULL,
    -- The choices of the person for this platform, as its adapter names them (title, privacy_level, …).
    post           jsonb NOT NULL,
    -- Null until the video is ready: what will be sent.
    media          jsonb,
    publish_at     timestamptz NOT NULL,
    zone           text NOT NULL DEFAULT 'UTC',
    wall_time      text,
    remote_id      text,
    url            text,
    url_provisional boolean NOT NULL DEFAULT false,
    state          text NOT NULL,
    progress       real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    reason         text,
    reason_code    text,
    verdict        text,
    job_id         bigint,
    run            bigint,
    published_at   timestamptz,
    changed_at     timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, publication_id) REFERENCES publications (workspace_id, id),
    FOREIGN KEY (workspace_id, video_id) REFERENCES videos (workspace_id, id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts (workspace_id, id)
);
CREATE INDEX targets_video_idx ON targets (workspace_id, video_id, id);
CREATE INDEX targets_publication_idx ON targets (workspace_id, publication_id);
CREATE INDEX targets_account_idx ON targets (workspace_id, account_id, state);
CREATE INDEX targets_due_idx ON targets (publish_at) WHERE state = 'scheduled';
CREATE INDEX targets_media_key_idx ON targets ((media ->> 'key')) WHERE media IS NOT NULL;
CREATE INDEX targets_unsettled_idx ON targets (changed_at) WHERE state IN ('publishing', 'unconfirmed');
CALL protect('targets');

INSERT INTO allowed_moves (machine, from_state, to_state) VALUES
    ('target', '', 'draft'),
    ('target', '', 'scheduled'),
    ('target', 'draft', 'scheduled'),
    ('target', 'draft', 'cancelled'),
    ('target', 'scheduled', 'queued'),
    ('target', 'scheduled', 'missed'),
    ('target', 'scheduled', 'failed'),
    ('target', 'scheduled', 'cancelled'),
    ('target', 'queued', 'publishing'),
    ('target', 'queued', 'failed'),
    ('target', 'queued', 'cancelled'),
    ('target', 'publishing', 'published'),
    ('target', 'publishing', 'unconfirmed'),
    ('target', 'publishing', 'failed'),
    ('target', 'publishing', 'cancelled'),
    ('target', 'publishing', 'queued'),
    ('target', 'unconfirmed', 'published'),
    ('target', 'unconfirmed', 'failed'),
    ('target', 'unconfirmed', 'publishing'),
    ('target', 'unconfirmed', 'queued'),
    ('target', 'failed', 'queued'),
    ('target', 'failed', 'scheduled'),
    ('target', 'missed', 'queued'),
    ('target', 'missed', 'cancelled'),
    ('target', 'cancelled', 'scheduled');
CREATE TRIGGER targets_check_move BEFORE INSERT OR UPDATE OF state ON targets
    FOR EACH ROW EXECUTE FUNCTION check_move('target');

-- The six-step ledger: one open attempt a target, found again by a later run and never made anew.
CREATE TABLE target_attempts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id   bigint NOT NULL,
    target_id      bigint NOT NULL,
    run            bigint NOT NULL,
    intent_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An init whose answer was lost: it posted nothing, but may be repeated once only.
    inits          integer NOT NULL DEFAULT 0,
    publish_id     text,
    upload_url_enc text,
    resource_at    timestamptz,
    expires_at     timestamptz,
    bytes_sent     bigint NOT NULL DEFAULT 0,
    -- The permit: whoever sets it may make the one irreversible call.
    committed_at   timestamptz,
    asked_at       timestamptz,
    asks           integer NOT NULL DEFAULT 0,
    outcome        text CHECK (outcome IN ('published', 'failed', 'abandoned', 'cancelled')),
    reason         text,
    ended_at       timestamptz,
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, target_id) REFERENCES targets (workspace_id, id)
);
CREATE UNIQUE INDEX target_attempts_open_idx ON target_attempts (target_id) WHERE outcome IS NULL;
CREATE INDEX target_attempts_target_idx ON target_attempts (workspace_id, target_id, id);
CALL protect('target_attempts', 'SELECT');

-- Every call to a platform, redacted: time, step, status, duration, outcome (S2.18).
CREATE TABLE target_calls (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL,
    target_id    bigint NOT NULL,
    attempt_id   bigint,
    run          bigint,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    step         text NOT NULL,
    status       integer,
    seconds      double precision NOT NULL,
    outcome      text NOT NULL,
    body         text NOT NULL DEFAULT '',
    FOREIGN KEY (workspace_id, target_id) REFERENCES targets (workspace_id, id)
);
CREATE INDEX target_calls_at_idx ON target_calls (at);
CREATE INDEX target_calls_target_idx ON target_calls (workspace_id, target_id, id);
CALL protect('target_calls', 'SELECT');

-- The page role may read the ledger but not write it; these are the three things a person may do to it.

-- Closes the open attempt of an own target unless its permit is spent. True: the permit is spent, it is too late.
CREATE FUNCTION close_attempt_unsent(_target_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _spent boolean;
BEGIN
    SELECT committed_at IS NOT NULL INTO _spent
      FROM target_attempts
     WHERE target_id = _target_id AND outcome IS NULL AND (workspace_id = app_workspace() OR in_house())
       FOR UPDATE;
    IF _spent THEN
        RETURN true;
    END IF;
    UPDATE target_attempts SET outcome = 'cancelled', ended_at = clock_timestamp()
     WHERE target_id = _target_id AND outcome IS NULL AND (workspace_id = app_workspace() OR in_house());
    RETURN false;
END $$;

CREATE FUNCTION close_attempt_by_hand(_target_id bigint, _published boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE target_attempts
       SET outcome = CASE WHEN _published THEN 'published' ELSE 'failed' END, reason = 'settled by hand',
           ended_at = clock_timestamp()
     WHERE target_id = _target_id AND outcome IS NULL AND (workspace_id = app_workspace() OR in_house())
$$;

-- Drops the reservations of an own target; the holder's name carries its id.
CREATE FUNCTION give_back_limits(_target_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM limit_grants
     WHERE holder = 'target-' || _target_id AND NOT started
       AND EXISTS (SELECT FROM targets WHERE id = _target_id AND (workspace_id = app_workspace() OR in_house()))
$$;

-- The state people are shown: the video's own until it is edited, then its newest target's. The same mapping as
-- `videos.Shown.state`; a test holds the two against each other.
CREATE FUNCTION shown_video_state(_state text, _video_id bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN _state <> 'EDITED' THEN _state ELSE coalesce(
        (SELECT CASE targets.state
                     WHEN 'draft' THEN 'EDITED' WHEN 'scheduled' THEN 'EDITED' WHEN 'queued' THEN 'UPLOAD_QUEUED'
                     WHEN 'publishing' THEN 'UPLOADING' WHEN 'unconfirmed' THEN 'CONFIRMING'
                     WHEN 'published' THEN 'POSTED' WHEN 'cancelled' THEN 'CANCELLED' ELSE 'FAILED' END
           FROM targets
          WHERE targets.video_id = _video_id
          ORDER BY targets.id DESC
          LIMIT 1), 'EDITED') END
$$;
