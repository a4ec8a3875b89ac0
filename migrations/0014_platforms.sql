-- Accounts on four platforms: when their tokens are renewed, what adapters keep with them, what the platforms' limits
-- say, and what happens to posts that were due while nothing could go out.

ALTER TABLE accounts
    -- When renewing is worth it; null (also for what older code wrote) goes by the token's own end.
    ADD COLUMN renew_at timestamptz,
    ADD COLUMN facts jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN outage_policy text NOT NULL DEFAULT 'spread'
        CHECK (outage_policy IN ('spread', 'hold', 'miss'));
CREATE INDEX accounts_renew_idx ON accounts (coalesce(renew_at, access_expires_at)) WHERE state = 'connected';

-- How much of a platform's limit is used, as its answers tell it: of one account's own limit, and of one that all
-- accounts of this installation share (`client_key` names the registration it belongs to).
CREATE TABLE account_usage (
    account_id   bigint NOT NULL,
    name         text NOT NULL,
    workspace_id bigint NOT NULL,
    used         integer,
    most         integer,
    percent      real,
    resets_at    timestamptz,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name),
    FOREIGN KEY (workspace_id, account_id) REFERENCES accounts (workspace_id, id)
);
CREATE INDEX account_usage_workspace_idx ON account_usage (workspace_id, account_id);
CALL protect('account_usage', 'SELECT');

CREATE TABLE app_usage (
    platform     text NOT NULL,
    client_key   text NOT NULL,
    name         text NOT NULL,
    used         integer,
    most         integer,
    percent      real,
    resets_at    timestamptz,
    -- Nothing more is begun at the platform before this moment, and why.
    held_until   timestamptz,
    reason       text,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, client_key, name)
);
CALL serve('app_usage', 'SELECT');

-- The one comment that may follow a post: intent before the call, outcome after it.
CREATE TABLE target_comments (
    target_id    bigint PRIMARY KEY,
    workspace_id bigint NOT NULL,
    text         text NOT NULL,
    intent_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    committed_at timestamptz,
    run          bigint NOT NULL,
    remote_id    text,
    outcome      text CHECK (outcome IN ('written', 'failed')),
    reason       text,
    ended_at     timestamptz,
    FOREIGN KEY (workspace_id, target_id) REFERENCES targets (workspace_id, id)
);
CREATE INDEX target_comments_workspace_idx ON target_comments (workspace_id, target_id);
CALL protect('target_comments', 'SELECT');
