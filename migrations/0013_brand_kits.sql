-- Looks that people keep for their next videos, clips that stand before and behind them, and what is streamed of each.

-- `design` is in the words of `media.read_design`; a title or captions without a text are a style only.
CREATE TABLE brand_kits (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    user_id      bigint NOT NULL REFERENCES users,
    name         text NOT NULL,
    design       jsonb NOT NULL DEFAULT '{}',
    is_default   boolean NOT NULL DEFAULT false,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);
CREATE UNIQUE INDEX brand_kits_name_idx ON brand_kits (workspace_id, lower(name));
-- One default for each workspace, whoever chooses at the same moment.
CREATE UNIQUE INDEX brand_kits_default_idx ON brand_kits (workspace_id) WHERE is_default;
CALL protect('brand_kits');

-- Pictures as before, and clips with what a look into them told.
ALTER TABLE assets
    ADD COLUMN kind text NOT NULL DEFAULT 'logo' CHECK (kind IN ('logo', 'clip')),
    ADD COLUMN probe jsonb;
-- Which videos name an asset is asked before it is deleted.
CREATE INDEX videos_design_idx ON videos USING gin (design jsonb_path_ops);

-- What is made for players beside the MP4; without it, what the house makes.
ALTER TABLE videos ADD COLUMN formats text[];

-- Captions on their way from a form to an upload: too long for the header that carries the other wishes.
CREATE TABLE kept_texts (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    sha256       text NOT NULL,
    text         text NOT NULL,
    kept_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, sha256)
);
CREATE INDEX kept_texts_kept_idx ON kept_texts (kept_at);
CALL protect('kept_texts');
