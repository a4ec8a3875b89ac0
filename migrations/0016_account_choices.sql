-- What a consent for several accounts offers until the person picks, and our registrations as operators enter them.

-- Sealed together with its tokens, which are forgotten as soon as somebody has picked or time is over.
CREATE TABLE account_choices (
    ticket_sha256 bytea PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    session_id    bigint NOT NULL REFERENCES sessions ON DELETE CASCADE,
    platform      text NOT NULL,
    offered_enc   text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    used_at       timestamptz
);
CREATE INDEX account_choices_created_idx ON account_choices (created_at);
CALL protect('account_choices');

-- The house's alone: no page role reads it, and no page shows it.
CREATE TABLE platform_apps (
    platform          text PRIMARY KEY,
    client_key_enc    text NOT NULL,
    client_secret_enc text NOT NULL,
    set_by            bigint REFERENCES users ON DELETE SET NULL,
    set_at            timestamptz NOT NULL DEFAULT now()
);
CALL serve('platform_apps');
