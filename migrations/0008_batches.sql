-- Several videos in one batch: which files and videos belong together, and what was asked for all of them.

-- What is asked of every item: `upload` files to be branded (and posted), `post`, `retry` or `cancel` videos that
-- are there. `wishes` are the settings they share, in the words of `videos.wishes`.
CREATE TABLE batches (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    act          text NOT NULL CHECK (act IN ('upload', 'post', 'retry', 'cancel')),
    wishes       jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);
CREATE INDEX batches_list_idx ON batches (workspace_id, id DESC);
CALL protect('batches');

-- How an item stands is not kept here: it is read from its upload, its video and its target. Only what those do
-- not know is: the name it was announced under, that it was called off, and why the last act was not accepted.
CREATE TABLE batch_items (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL,
    batch_id     bigint NOT NULL,
    title        text NOT NULL,
    filename     text NOT NULL,
    bytes        bigint NOT NULL CHECK (bytes > 0),
    -- The video and the post that an act was for; an uploaded file's video names its item instead.
    video_id     bigint,
    target_id    bigint,
    -- Whether the video was branded already when the act was asked for: then only the post is still to be done.
    branded      boolean NOT NULL DEFAULT false,
    -- Whether the act on that video could be begun; the reason why not stands in `refused`.
    accepted     boolean NOT NULL DEFAULT false,
    cancelled_at timestamptz,
    refused      text,
    refused_code text,
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, batch_id) REFERENCES batches (workspace_id, id),
    FOREIGN KEY (workspace_id, video_id) REFERENCES videos (workspace_id, id),
    FOREIGN KEY (workspace_id, target_id) REFERENCES targets (workspace_id, id)
);
CREATE INDEX batch_items_batch_idx ON batch_items (workspace_id, batch_id, id);
CREATE INDEX batch_items_video_idx ON batch_items (workspace_id, video_id) WHERE video_id IS NOT NULL;
CREATE INDEX batch_items_target_idx ON batch_items (workspace_id, target_id) WHERE target_id IS NOT NULL;
CALL protect('batch_items');

-- The place in a batch that a file fills. Without one (also for code that knows of none) nothing changes.
ALTER TABLE uploads
    ADD COLUMN item_id bigint,
    ADD FOREIGN KEY (workspace_id, item_id) REFERENCES batch_items (workspace_id, id) ON DELETE SET NULL (item_id);
ALTER TABLE videos
    ADD COLUMN item_id bigint,
    ADD FOREIGN KEY (workspace_id, item_id) REFERENCES batch_items (workspace_id, id);
-- One file on its way and one video for each place, whoever asks twice.
CREATE UNIQUE INDEX uploads_item_idx ON uploads (item_id) WHERE state IN ('open', 'finishing', 'done');
CREATE INDEX uploads_items_idx ON uploads (workspace_id, item_id, created_at) WHERE item_id IS NOT NULL;
CREATE UNIQUE INDEX videos_item_idx ON videos (item_id);

-- Nothing comes of an item that was called off, also when a file ends its way at that very moment: whoever calls
-- off holds the item for update, so it is either seen here or sees the video.
CREATE FUNCTION check_item_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM batch_items WHERE id = NEW.item_id AND cancelled_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'item % of a batch takes no file', NEW.item_id
              USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_items_open';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER uploads_check_item BEFORE INSERT ON uploads
    FOR EACH ROW WHEN (NEW.item_id IS NOT NULL) EXECUTE FUNCTION check_item_open();
CREATE TRIGGER videos_check_item BEFORE INSERT ON videos
    FOR EACH ROW WHEN (NEW.item_id IS NOT NULL) EXECUTE FUNCTION check_item_open();
