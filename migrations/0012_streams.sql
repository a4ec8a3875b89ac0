-- The streams of a video: what is made of it in pieces that any worker can make, and that play before all is done.

-- One making of a video. The plan says everything about how; who makes it holds a part of it by its run.
CREATE TABLE streams (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id  bigint NOT NULL,
    video_id      bigint NOT NULL,
    user_id       bigint NOT NULL REFERENCES users,
    state         text NOT NULL,
    formats       text[] NOT NULL DEFAULT '{}',
    -- Whether the video is edited by this making, and goes out when it is ready.
    for_edit      boolean NOT NULL DEFAULT false,
    -- Only this rung is made; everything else was taken over from the stream that was ready.
    only_rung     text,
    thumbnails    boolean NOT NULL DEFAULT true,
    source_key    text NOT NULL,
    source_bytes  bigint NOT NULL,
    source_sha256 text NOT NULL,
    plan          jsonb NOT NULL,
    -- What was asked of process-video, to ask for it again.
    options       jsonb NOT NULL DEFAULT '{}',
    -- A logo from the web as it was when this was begun: every part must burn in the same one.
    logo_key      text,
    -- Segments of the picture, over all rungs.
    segments      integer NOT NULL DEFAULT 0,
    segments_made integer NOT NULL DEFAULT 0,
    sound_done    boolean NOT NULL DEFAULT false,
    progress      real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    bytes         bigint NOT NULL DEFAULT 0,
    cpu_s         double precision NOT NULL DEFAULT 0,
    command       text,
    log           text,
    mp4_key       text,
    mp4_bytes     bigint,
    mp4_sha256    text,
    reason        text,
    reason_code   text,
    job_id        bigint,
    run           bigint,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, video_id) REFERENCES videos (workspace_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
-- One unfinished stream for each video, whoever begins one.
CREATE UNIQUE INDEX streams_making_idx ON streams (video_id) WHERE state = 'making';
CREATE INDEX streams_video_idx ON streams (workspace_id, video_id, id DESC);
CREATE INDEX streams_over_idx ON streams (changed_at) WHERE state IN ('replaced', 'cancelled', 'failed');
CREATE INDEX streams_mp4_key_idx ON streams (mp4_key) WHERE mp4_key IS NOT NULL;
CREATE INDEX streams_logo_key_idx ON streams (logo_key) WHERE logo_key IS NOT NULL;
CALL protect('streams');

INSERT INTO allowed_moves (machine, from_state, to_state) VALUES
    ('stream', '', 'making'),
    ('stream', 'making', 'ready'),
    ('stream', 'making', 'failed'),
    ('stream', 'making', 'cancelled'),
    ('stream', 'failed', 'making'),
    ('stream', 'ready', 'replaced');
CREATE TRIGGER streams_check_move BEFORE INSERT OR UPDATE OF state ON streams
    FOR EACH ROW EXECUTE FUNCTION check_move('stream');

-- A rung or a sound of a stream. Every worker must make the same first bytes of it, so their sum is kept.
CREATE TABLE stream_tracks (
    stream_id    bigint NOT NULL,
    workspace_id bigint NOT NULL,
    name         text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('video', 'audio')),
    codec        text NOT NULL,
    width_px     integer NOT NULL DEFAULT 0,
    height_px    integer NOT NULL DEFAULT 0,
    fps          text NOT NULL DEFAULT '',
    language     text NOT NULL DEFAULT '',
    label        text NOT NULL DEFAULT '',
    timescale    integer NOT NULL,
    target_kbps  integer NOT NULL DEFAULT 0,
    init_key     text NOT NULL,
    init_bytes   integer NOT NULL,
    init_sha256  text NOT NULL,
    PRIMARY KEY (stream_id, name),
    FOREIGN KEY (workspace_id, stream_id) REFERENCES streams (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX stream_tracks_key_idx ON stream_tracks (init_key);
CALL protect('stream_tracks');

-- A finished piece of a track: written once, by whichever run was first.
CREATE TABLE stream_segments (
    stream_id    bigint NOT NULL,
    workspace_id bigint NOT NULL,
    track        text NOT NULL,
    number       integer NOT NULL,
    ticks        bigint NOT NULL,
    bytes        bigint NOT NULL,
    key          text NOT NULL,
    PRIMARY KEY (stream_id, track, number),
    FOREIGN KEY (workspace_id, stream_id) REFERENCES streams (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX stream_segments_key_idx ON stream_segments (key);
CALL protect('stream_segments');

-- A range of segments that one run makes. Number 0 is the opening with all the sound.
CREATE TABLE stream_parts (
    stream_id     bigint NOT NULL,
    workspace_id  bigint NOT NULL,
    number        integer NOT NULL,
    first_segment integer NOT NULL,
    last_segment  integer NOT NULL,
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'working', 'done')),
    job_id        bigint,
    run           bigint,
    cpu_s         double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (stream_id, number),
    FOREIGN KEY (workspace_id, stream_id) REFERENCES streams (workspace_id, id) ON DELETE CASCADE
);
CALL protect('stream_parts');

-- Beside the stills: sheets of small pictures, the text that tells where each stands, captions, chapters.
ALTER TABLE renditions
    DROP CONSTRAINT renditions_kind_check,
    ADD CONSTRAINT renditions_kind_check CHECK (
        kind ~ '^(poster|small|medium|large|storyboard-([0-9]{1,3}|vtt)|captions-[a-z0-9-]{1,20}|chapters)$');

-- Whether playing can begin: there is a first picture and, where the video sounds, its sound.
CREATE FUNCTION playable(made streams) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN made.formats && ARRAY['hls', 'dash']
   AND EXISTS (SELECT FROM stream_segments
                WHERE stream_id = made.id AND number = 0 AND track LIKE 'v%')
   AND (coalesce(jsonb_array_length(made.plan -> 'sounds'), 0) = 0
        OR EXISTS (SELECT FROM stream_segments WHERE stream_id = made.id AND number = 0 AND track = 'a0'));
