-- Uploads on their way in, videos with their files, and the pictures people brand them with.

-- Logos and the like. The file name is what the person called it; the key is ours.
CREATE TABLE assets (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    name         text NOT NULL,
    key          text NOT NULL,
    bytes        bigint NOT NULL,
    sha256       text NOT NULL,
    content_type text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    UNIQUE (workspace_id, sha256)
);
CALL protect('assets');

CREATE TABLE videos (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    user_id       bigint NOT NULL REFERENCES users,
    account_id    bigint,
    title         text NOT NULL,
    filename      text NOT NULL,
    source_key    text NOT NULL,
    source_bytes  bigint NOT NULL CHECK (source_bytes > 0),
    source_sha256 text NOT NULL,
    source_type   text NOT NULL,
    source_probe  jsonb,
    design        jsonb NOT NULL DEFAULT '{}',
    edited_key    text,
    edited_bytes  bigint,
    edited_sha256 text,
    edited_probe  jsonb,
    -- The command and the last lines of the run that made the edited file (S1.21).
    edit_command  text,
    edit_log      text,
    edit_cpu_s    double precision,
    state         text NOT NULL,
    progress      real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    reason        text,
    reason_code   text,
    job_id        bigint,
    run           bigint,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts (workspace_id, id)
);
CREATE INDEX videos_list_idx ON videos (workspace_id, id DESC);
CREATE INDEX videos_state_idx ON videos (workspace_id, state);
CREATE INDEX videos_account_idx ON videos (workspace_id, account_id);
CALL protect('videos');

INSERT INTO allowed_moves (machine, from_state, to_state) VALUES
    ('video', '', 'EDITING_QUEUED'),
    ('video', 'EDITING_QUEUED', 'EDITING'),
    ('video', 'EDITING', 'EDITED'),
    ('video', 'EDITING', 'EDITING_QUEUED'),
    ('video', 'EDITED', 'EDITING_QUEUED'),
    ('video', 'EDITING_QUEUED', 'FAILED'),
    ('video', 'EDITING', 'FAILED'),
    ('video', 'FAILED', 'EDITING'),
    ('video', 'FAILED', 'EDITING_QUEUED'),
    ('video', 'CANCELLED', 'EDITING_QUEUED'),
    ('video', 'EDITING_QUEUED', 'CANCELLED'),
    ('video', 'EDITING', 'CANCELLED');
CREATE TRIGGER videos_check_move BEFORE INSERT OR UPDATE OF state ON videos
    FOR EACH ROW EXECUTE FUNCTION check_move('video');

-- The stills made beside the edited video.
CREATE TABLE renditions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL,
    video_id     bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('poster', 'small', 'medium', 'large')),
    key          text NOT NULL,
    bytes        bigint NOT NULL,
    sha256       text NOT NULL,
    width_px     integer NOT NULL,
    height_px    integer NOT NULL,
    content_type text NOT NULL,
    UNIQUE (workspace_id, video_id, kind),
    FOREIGN KEY (workspace_id, video_id) REFERENCES videos (workspace_id, id) ON DELETE CASCADE
);
CALL protect('renditions');

-- Resumable uploads (tus 1.0). The row lives until the video is made or the upload expires.
CREATE TABLE uploads (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    filename     text NOT NULL,
    bytes_total  bigint NOT NULL CHECK (bytes_total > 0),
    bytes_here   bigint NOT NULL DEFAULT 0,
    key          text NOT NULL,
    handle       text NOT NULL,
    content_type text NOT NULL DEFAULT '',
    wishes       jsonb NOT NULL DEFAULT '{}',
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'finishing', 'done', 'refused', 'dropped')),
    reason       text,
    video_id     bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX uploads_open_idx ON uploads (workspace_id, changed_at) WHERE state IN ('open', 'finishing');
CALL protect('uploads');

-- Whether a stored file is named by a row is asked once a day for each of them.
CREATE INDEX videos_source_key_idx ON videos (source_key);
CREATE INDEX videos_edited_key_idx ON videos (edited_key) WHERE edited_key IS NOT NULL;
CREATE INDEX renditions_key_idx ON renditions (key);
CREATE INDEX assets_key_idx ON assets (key);
CREATE INDEX uploads_key_idx ON uploads (key);
