-- What the house knows of a job beyond the engine's row: owner, runs, workers, pauses, limits, events, audit.

-- One row a job. The engine's own row stays narrow and is never widened.
CREATE TABLE job_records (
    job_id         bigint PRIMARY KEY REFERENCES procrastinate_jobs ON DELETE CASCADE,
    workspace_id   bigint,
    correlation_id text NOT NULL,
    put_at         timestamptz NOT NULL DEFAULT now(),
    -- A person's retry starts a fresh count of tries: a new round.
    round          integer NOT NULL DEFAULT 1,
    rescues        integer NOT NULL DEFAULT 0,
    waiting_for    text,
    waiting_until  timestamptz,
    cancel_reason  text,
    ended_at       timestamptz
);
CREATE INDEX job_records_workspace_idx ON job_records (workspace_id, job_id);
CREATE INDEX job_records_ended_idx ON job_records (ended_at) WHERE ended_at IS NOT NULL;
CALL protect('job_records', 'SELECT');

-- One row a run. The open one (outcome IS NULL) belongs to the run that holds its number.
CREATE TABLE attempts (
    run            bigint PRIMARY KEY DEFAULT nextval('runs'),
    job_id         bigint NOT NULL REFERENCES procrastinate_jobs ON DELETE CASCADE,
    workspace_id   bigint,
    round          integer NOT NULL,
    worker_id      bigint NOT NULL,
    queue          text NOT NULL,
    task           text NOT NULL,
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at       timestamptz,
    outcome        text CHECK (outcome IN ('done', 'failed', 'gave_up', 'waiting', 'unsure',
                                           'cancelled', 'handed_back', 'lost')),
    error_kind     text,
    error_code     text,
    reason         text,
    detail         text,
    next_at        timestamptz
);
CREATE UNIQUE INDEX attempts_open_idx ON attempts (job_id) WHERE outcome IS NULL;
CREATE INDEX attempts_job_idx ON attempts (job_id, run);
CREATE INDEX attempts_task_idx ON attempts (task, run);
CREATE INDEX attempts_ended_idx ON attempts (ended_at) WHERE outcome IS NOT NULL;
CALL protect('attempts', 'SELECT');

-- What each worker process says of itself, every ten seconds: its lease.
CREATE TABLE worker_leases (
    worker_id   bigint PRIMARY KEY,
    name        text NOT NULL,
    host        text NOT NULL,
    -- Machine, process and the process's start: lets a neighbour on the same machine know a death for certain.
    process     text NOT NULL,
    pid         integer NOT NULL,
    queues      text[] NOT NULL,
    version     text NOT NULL,
    concurrency integer NOT NULL,
    runs        bigint[] NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    stopping    boolean NOT NULL DEFAULT false,
    listening   boolean NOT NULL DEFAULT false
);
CALL serve('worker_leases');

CREATE TABLE pauses (
    queue      text PRIMARY KEY,
    reason     text NOT NULL DEFAULT '',
    paused_by  bigint REFERENCES users,
    paused_at  timestamptz NOT NULL DEFAULT now()
);
CALL serve('pauses', 'SELECT');

-- Exact limits: a row per key is the lock, grants are the starts that count (and reservations that wait).
CREATE TABLE limits (
    key        text PRIMARY KEY
);
CALL serve('limits');

CREATE TABLE limit_grants (
    key     text NOT NULL REFERENCES limits ON DELETE CASCADE,
    holder  text NOT NULL,
    at      timestamptz NOT NULL,
    started boolean NOT NULL,
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE INDEX limit_grants_key_idx ON limit_grants (key, at);
CREATE INDEX limit_grants_holder_idx ON limit_grants (holder);
CREATE UNIQUE INDEX limit_grants_waiting_idx ON limit_grants (key, holder) WHERE NOT started;
CALL serve('limit_grants');

-- Everything that happened, in the transaction in which it happened.
CREATE TABLE events (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    workspace_id bigint,
    topic        text NOT NULL,
    name         text NOT NULL,
    run          bigint,
    detail       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_topic_idx ON events (workspace_id, topic, id);
CREATE INDEX events_name_idx ON events (name, id);
CALL protect('events', 'SELECT, INSERT');

-- What operators did: rows are added, never changed.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id bigint REFERENCES users,
    action  text NOT NULL,
    subject text NOT NULL,
    many    integer NOT NULL DEFAULT 1,
    detail  jsonb NOT NULL DEFAULT '{}'
);
CALL serve('audit');

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are added, never changed', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The first answer to a request is kept and given again (R13).
CREATE TABLE request_keys (
    workspace_id   bigint NOT NULL,
    key            text NOT NULL,
    request_sha256 bytea NOT NULL,
    status         integer,
    answer         jsonb,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX request_keys_created_idx ON request_keys (created_at);
CALL protect('request_keys');

-- Statements of the queue, counted by each process in batches, for the monthly usage (S1.50).
CREATE TABLE queue_usage (
    month      date NOT NULL,
    operations bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (month)
);
CALL serve('queue_usage');

-- Puts a job in the caller's transaction. A waiting twin with the same `once` is found instead of a second made.
-- The page role owns no right on the engine's tables; this function is its one door, for its own workspace only.
CREATE FUNCTION put_job(
    _queue text, _task text, _priority integer, _lock text, _once text, _args jsonb, _at timestamptz,
    _workspace_id bigint, _correlation_id text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF _workspace_id IS DISTINCT FROM app_workspace() AND NOT in_house() THEN
        RAISE EXCEPTION 'a job may be put for the own workspace only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    LOOP
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        VALUES (_queue, _task, _priority, _lock, _once, _args, _at)
            ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        RETURNING id INTO _job_id;
        IF _job_id IS NOT NULL THEN
            INSERT INTO job_records (job_id, workspace_id, correlation_id, waiting_until)
            VALUES (_job_id, _workspace_id, _correlation_id, _at);
            RETURN _job_id;
        END IF;
        -- The twin is locked and brought forward: a worker cannot take it before the caller has committed, so it
        -- is sure to see what the caller wrote.
        UPDATE procrastinate_jobs
           SET scheduled_at = CASE WHEN _at IS NULL OR scheduled_at IS NULL THEN NULL
                                   ELSE least(scheduled_at, _at) END
         WHERE queueing_lock = _once AND status = 'todo'
        RETURNING id INTO _job_id;
        IF _job_id IS NOT NULL THEN
            PERFORM wake_queue(_queue, _job_id);
            RETURN _job_id;
        END IF;
    END LOOP;
END $$;

-- Cancels an own job that waits, or asks its worker to stop. Gives back whether there was one to cancel.
CREATE FUNCTION cancel_job(_job_id bigint, _reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _status procrastinate_job_status;
BEGIN
    PERFORM FROM job_records
      WHERE job_id = _job_id AND ended_at IS NULL AND (workspace_id = app_workspace() OR in_house());
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The engine's row first, then ours: the order in which a worker locks them, too.
    PERFORM procrastinate_cancel_job_v1(_job_id, true, false);
    UPDATE job_records SET cancel_reason = _reason WHERE job_id = _job_id;
    DELETE FROM limit_grants WHERE holder = 'job-' || _job_id AND NOT started;
    SELECT status INTO _status FROM procrastinate_jobs WHERE id = _job_id;
    IF _status = 'cancelled' THEN
        UPDATE procrastinate_jobs SET abort_requested = false WHERE id = _job_id;
        UPDATE job_records SET ended_at = clock_timestamp(), waiting_for = NULL, waiting_until = NULL
         WHERE job_id = _job_id;
    END IF;
    RETURN true;
END $$;

-- A person's retry of an ended job: the same job, a fresh count of tries. False when it is not ended.
CREATE FUNCTION retry_job(_job_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _queue text;
BEGIN
    PERFORM FROM job_records WHERE job_id = _job_id AND (workspace_id = app_workspace() OR in_house()) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE procrastinate_jobs
       SET status = 'todo', scheduled_at = NULL, abort_requested = false, worker_id = NULL, attempts = 0
     WHERE id = _job_id AND status IN ('failed', 'aborted', 'cancelled')
    RETURNING queue_name INTO _queue;
    IF _queue IS NULL THEN
        RETURN false;
    END IF;
    UPDATE job_records
       SET round = round + 1, rescues = 0, ended_at = NULL, cancel_reason = NULL,
           waiting_for = NULL, waiting_until = NULL, put_at = now()
     WHERE job_id = _job_id;
    PERFORM wake_queue(_queue, _job_id);
    RETURN true;
END $$;

-- The engine announces inserts only; a job that becomes ready again is announced here, in the same words.
CREATE FUNCTION wake_queue(_queue text, _job_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    notice text := json_build_object('type', 'job_inserted', 'job_id', _job_id)::text;
BEGIN
    PERFORM pg_notify('procrastinate_queue_v1#' || _queue, notice);
    PERFORM pg_notify('procrastinate_any_queue_v1', notice);
END $$;

-- What pages may know of their workspace's jobs. It filters by owner itself, since the page role has no right
-- on the engine's table; security_barrier keeps a caller's own conditions behind that filter.
CREATE VIEW owned_jobs WITH (security_barrier) AS
SELECT jobs.id, jobs.queue_name AS queue, jobs.task_name AS task, jobs.status::text AS status, jobs.priority,
       jobs.scheduled_at, records.workspace_id, records.put_at, records.waiting_for, records.waiting_until,
       records.cancel_reason, records.ended_at, records.round
  FROM job_records AS records
  JOIN procrastinate_jobs AS jobs ON jobs.id = records.job_id
 WHERE records.workspace_id = app_workspace() OR in_house();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_page') THEN
        GRANT SELECT ON owned_jobs TO backlot_page;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
        GRANT SELECT ON owned_jobs TO backlot_house;
        GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers,
              procrastinate_periodic_defers TO backlot_house;
        GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO backlot_house;
    END IF;
END $$;

ALTER TABLE procrastinate_jobs SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE attempts SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE job_records SET (autovacuum_vacuum_scale_factor = 0.01);

-- Two figures about the whole house that a page may know: nothing of anybody's rows comes with them.
CREATE FUNCTION living_workers(_queue text) RETURNS bigint LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM worker_leases
     WHERE _queue = ANY (queues) AND seen_at > now() - interval '30 s' AND NOT stopping
$$;

CREATE FUNCTION jobs_ahead(_job_id bigint) RETURNS bigint LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)
      FROM procrastinate_jobs AS mine
      JOIN procrastinate_jobs AS other
        ON other.queue_name = mine.queue_name AND other.status = 'todo'
       AND (other.scheduled_at IS NULL OR other.scheduled_at <= now())
       AND (other.priority > mine.priority OR (other.priority = mine.priority AND other.id < mine.id))
     WHERE mine.id = _job_id AND mine.status = 'todo'
$$;
