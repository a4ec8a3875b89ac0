-- Publications with a target for each account: when they go out and why not yet, drafts, weekly slots, and imports.

ALTER TABLE publications
    ADD COLUMN text text NOT NULL DEFAULT '',
    -- Where it was asked for: composer, api, import or upload; empty for one of the code before this.
    ADD COLUMN source text NOT NULL DEFAULT '',
    ADD COLUMN batch_id bigint,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
    ADD FOREIGN KEY (workspace_id, batch_id) REFERENCES batches (workspace_id, id);
CREATE INDEX publications_list_idx ON publications (workspace_id, id DESC);

ALTER TABLE targets
    -- Which of two equal hours `wall_time` means, on the day on which the clocks go back.
    ADD COLUMN fold smallint NOT NULL DEFAULT 0 CHECK (fold IN (0, 1)),
    -- Its turn after an outage, in place of `publish_at`, which stays the time the person chose.
    ADD COLUMN release_at timestamptz,
    -- Held back after an outage until a person decides.
    ADD COLUMN held_at timestamptz,
    -- When it was last put in line.
    ADD COLUMN released_at timestamptz,
    ADD COLUMN edited_at timestamptz;
CREATE INDEX targets_calendar_idx ON targets (workspace_id, publish_at);
CREATE INDEX targets_released_idx ON targets (account_id, released_at) WHERE released_at IS NOT NULL;

-- How far apart the posts of an account go out that were due while nothing ran (`outage_policy` spread).
ALTER TABLE accounts
    ADD COLUMN outage_gap_s integer NOT NULL DEFAULT 300 CHECK (outage_gap_s BETWEEN 300 AND 86400);

INSERT INTO allowed_moves (machine, from_state, to_state) VALUES
    ('target', 'queued', 'scheduled'),
    ('target', 'publishing', 'scheduled'),
    ('target', 'missed', 'scheduled'),
    ('target', 'failed', 'cancelled')
    ON CONFLICT DO NOTHING;

-- The one word for a whole publication, from the states of its targets. The same mapping as
-- `publishing.publications.state_of`; a test holds the two against each other.
CREATE FUNCTION publication_state(_states text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN 'publishing' = ANY (_states) THEN 'publishing'
        WHEN 'queued' = ANY (_states) THEN 'queued'
        WHEN 'unconfirmed' = ANY (_states) THEN 'unconfirmed'
        WHEN 'scheduled' = ANY (_states) THEN 'scheduled'
        WHEN 'draft' = ANY (_states) THEN 'draft'
        WHEN 'published' = ANY (_states) AND _states && ARRAY['failed', 'missed'] THEN 'partially_published'
        WHEN 'published' = ANY (_states) THEN 'published'
        WHEN 'failed' = ANY (_states) THEN 'failed'
        WHEN 'missed' = ANY (_states) THEN 'missed'
        WHEN 'cancelled' = ANY (_states) THEN 'cancelled'
        ELSE 'draft' END
$$;

-- What a video offers to a platform, as the room of videos tells the rooms below it; null unless it is edited. Holds the video for the rest of the transaction, so that its edit cannot end unseen
-- beside a post that is being planned. The same words as `videos.to_send`; a test holds the two together.
CREATE FUNCTION video_to_post(_video_id bigint) RETURNS TABLE (state text, media jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM videos WHERE videos.id = _video_id FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT videos.state,
           CASE WHEN videos.state = 'EDITED' THEN jsonb_build_object(
               'key', videos.edited_key,
               'bytes', coalesce(videos.edited_bytes, 0),
               'sha256', coalesce(videos.edited_sha256, ''),
               'content_type', CASE WHEN videos.source_type LIKE 'image/%' THEN 'image/jpeg' ELSE 'video/mp4' END,
               'duration_s', videos.edited_probe -> 'duration_s',
               'width_px', videos.edited_probe -> 'width_px',
               'height_px', videos.edited_probe -> 'height_px',
               'fps', coalesce(nullif(videos.edited_probe -> 'fps', 'null'), to_jsonb(0.0)),
               'cover', (SELECT jsonb_build_object('key', stills.key, 'bytes', stills.bytes, 'sha256', stills.sha256,
                                                   'width_px', stills.width_px, 'height_px', stills.height_px)
                           FROM renditions AS stills
                          WHERE stills.video_id = videos.id AND stills.kind = 'poster')) END
      FROM videos
     WHERE videos.id = _video_id;
END $$;

-- What was typed and not posted yet. `form` is the composer's own; the last write wins and counts `version` up.
CREATE TABLE post_drafts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    form         jsonb NOT NULL,
    version      integer NOT NULL DEFAULT 1,
    saved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);
CREATE INDEX post_drafts_list_idx ON post_drafts (workspace_id, saved_at DESC);
CALL protect('post_drafts');

-- The hours of the week at which an account posts: Monday is 0.
CREATE TABLE weekly_slots (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL,
    account_id   bigint NOT NULL,
    weekday      smallint NOT NULL CHECK (weekday BETWEEN 0 AND 6),
    wall         text NOT NULL CHECK (wall ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
    zone         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    UNIQUE (workspace_id, account_id, weekday, wall, zone),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts (workspace_id, id)
);
CALL protect('weekly_slots');

-- A batch may be an import: each item is one row for one account, with what was asked for it.
ALTER TABLE batches DROP CONSTRAINT batches_act_check;
ALTER TABLE batches
    ADD CONSTRAINT batches_act_check CHECK (act IN ('upload', 'post', 'retry', 'cancel', 'import'));
ALTER TABLE batch_items DROP CONSTRAINT batch_items_bytes_check;
ALTER TABLE batch_items
    ADD CONSTRAINT batch_items_bytes_check CHECK (bytes >= 0),
    ADD COLUMN asked jsonb,
    -- The row of the file it came from, counted from 1 without the headings.
    ADD COLUMN row_number integer;

-- What an attempt took of limits goes back when nothing was begun with it: the holder's name carries the target's id.
CREATE FUNCTION give_back_starts(_target_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM limit_grants
     USING target_attempts AS attempt
     WHERE limit_grants.holder = 'target-' || _target_id AND attempt.target_id = _target_id
       AND attempt.outcome IS NULL AND attempt.inits = 0 AND attempt.committed_at IS NULL
       AND limit_grants.at >= attempt.intent_at - interval '1 s'
       AND (attempt.workspace_id = app_workspace() OR in_house())
$$;

-- As before, and the starts of an attempt that began nothing go back.
CREATE OR REPLACE FUNCTION close_attempt_unsent(_target_id bigint) RETURNS boolean
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
    PERFORM give_back_starts(_target_id);
    UPDATE target_attempts SET outcome = 'cancelled', ended_at = clock_timestamp()
     WHERE target_id = _target_id AND outcome IS NULL AND (workspace_id = app_workspace() OR in_house());
    RETURN false;
END $$;
