-- Connected accounts on platforms, with sealed tokens, and the one-use states of connecting them.

CREATE TABLE accounts (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id       bigint NOT NULL REFERENCES workspaces,
    platform           text NOT NULL,
    remote_id          text NOT NULL,
    handle             text NOT NULL,
    display_name       text NOT NULL,
    avatar_url         text,
    simulated          boolean NOT NULL DEFAULT false,
    scopes             text[] NOT NULL DEFAULT '{}',
    access_token_enc   text,
    refresh_token_enc  text,
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    state              text NOT NULL CHECK (state IN ('connected', 'needs_reconnect', 'disconnected')),
    reason             text,
    -- Set when the platform asked this account to wait (daily cap, spam risk).
    held_until         timestamptz,
    held_reason        text,
    paused_at          timestamptz,
    -- What the platform last said the creator may do, as its creator_info answer.
    creator            jsonb,
    creator_at         timestamptz,
    last_success_at    timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    changed_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, platform, remote_id),
    UNIQUE (workspace_id, id)
);
CREATE INDEX accounts_expiry_idx ON accounts (access_expires_at) WHERE state = 'connected';
CALL protect('accounts');

CREATE TABLE oauth_states (
    state_sha256  bytea PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    session_id    bigint NOT NULL REFERENCES sessions,
    platform      text NOT NULL,
    verifier_enc  text NOT NULL,
    redirect_uri  text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    used_at       timestamptz
);
CALL protect('oauth_states');
