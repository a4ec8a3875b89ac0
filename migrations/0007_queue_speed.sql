-- The queue made fast and exact: triggers once a statement, indexes for exactly our questions, jobs taken and
-- ended many at a time, limits and fairness inside the claim. The engine's own functions and worker still work.

-- Whose job it is: the workspace, 0 for the house. In the engine's row, because the claim has to share places
-- between owners and must not join a second table to do so.
ALTER TABLE procrastinate_jobs ADD COLUMN owner bigint NOT NULL DEFAULT 0;
UPDATE procrastinate_jobs AS jobs
   SET owner = records.workspace_id
  FROM job_records AS records
 WHERE records.job_id = jobs.id AND records.workspace_id IS NOT NULL AND jobs.status IN ('todo', 'doing');

-- Ready: waits and has no time before it. Free jobs stand apart from those that share a lock. The `+ 0` and `|| ''`
-- tie our questions to these indexes: no other one can answer them in this order, so no statistics, however stale,
-- can lead the planner through a million ended rows instead.
CREATE INDEX house_ready_idx ON procrastinate_jobs (queue_name, (priority + 0) DESC, owner, (id + 0))
       WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NULL;
CREATE INDEX house_locked_idx ON procrastinate_jobs (lock, (priority + 0) DESC, (id + 0))
       WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL;
CREATE INDEX house_due_idx ON procrastinate_jobs (scheduled_at) WHERE status = 'todo' AND scheduled_at IS NOT NULL;
CREATE INDEX house_doing_idx ON procrastinate_jobs ((queue_name || ''), owner) WHERE status = 'doing';

-- The engine checks each row's foreign key by a query of its own, and fires each trigger once a row. Both cost
-- more than the work; they are replaced by triggers that see a whole statement. Its functions stay.
ALTER TABLE procrastinate_events DROP CONSTRAINT procrastinate_events_job_id_fkey;
ALTER TABLE procrastinate_jobs DROP CONSTRAINT procrastinate_jobs_worker_id_fkey;
ALTER TABLE job_records DROP CONSTRAINT job_records_job_id_fkey;
ALTER TABLE attempts DROP CONSTRAINT attempts_job_id_fkey;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_status_events_update_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_status_events_insert_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_scheduled_events_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_abort_requested_events_v1;

-- One notice a transaction and queue, however many jobs: equal notices are sent once.
CREATE OR REPLACE FUNCTION wake_queue(_queue text, _job_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('procrastinate_queue_v1#' || _queue, '{"type": "job_inserted", "job_id": 0}');
    PERFORM pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}');
END $$;

-- What one put causes; its notices are those of `wake_queue`, without a call for each queue.
CREATE FUNCTION house_jobs_put() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT put.id, told.type, told.at
      FROM put
     CROSS JOIN LATERAL (VALUES ('deferred'::procrastinate_job_event_type, now()), ('scheduled', put.scheduled_at))
                     AS told (type, at)
     WHERE put.status = 'todo' AND told.at IS NOT NULL;
    PERFORM pg_notify('procrastinate_queue_v1#' || queue_name, '{"type": "job_inserted", "job_id": 0}'),
            pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}')
       FROM (SELECT DISTINCT queue_name FROM put WHERE status = 'todo') AS queues;
    RETURN NULL;
END $$;

-- The join of two transition tables needs a hash join, whatever the function that fired the trigger has switched off.
CREATE FUNCTION house_jobs_changed() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = on SET enable_nestloop = off AS $$
DECLARE
    _rare boolean;
BEGIN
    WITH moved AS (
        SELECT changed.id,
               CASE WHEN before.status = 'todo' AND changed.status = 'doing' THEN 'started'
                    WHEN before.status = 'doing' AND changed.status = 'todo' THEN 'deferred_for_retry'
                    WHEN before.status = 'doing' AND changed.status = 'failed' THEN 'failed'
                    WHEN before.status = 'doing' AND changed.status = 'succeeded' THEN 'succeeded'
                    WHEN before.status = 'todo' AND changed.status IN ('cancelled', 'failed', 'succeeded')
                    THEN 'cancelled'
                    WHEN before.status = 'doing' AND changed.status = 'aborted' THEN 'aborted'
                    WHEN before.status = 'failed' AND changed.status = 'todo' THEN 'retried'
               END::procrastinate_job_event_type AS type,
               changed.abort_requested OR changed.status = 'todo' AND changed.scheduled_at IS NOT NULL AS rare
          FROM before JOIN changed ON changed.id = before.id
         WHERE before.status <> changed.status OR changed.abort_requested OR changed.scheduled_at IS NOT NULL),
    told AS (
        INSERT INTO procrastinate_events (job_id, type) SELECT id, type FROM moved WHERE type IS NOT NULL)
    SELECT bool_or(rare) INTO _rare FROM moved;
    IF _rare THEN
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT changed.id, 'scheduled', changed.scheduled_at FROM changed
         WHERE changed.status = 'todo' AND changed.scheduled_at IS NOT NULL;
        INSERT INTO procrastinate_events (job_id, type)
        SELECT changed.id, 'abort_requested'
          FROM before JOIN changed ON changed.id = before.id
         WHERE changed.abort_requested AND NOT before.abort_requested;
        PERFORM pg_notify('procrastinate_queue_v1#' || queue_name, notice), pg_notify('procrastinate_any_queue_v1', notice)
           FROM (SELECT changed.queue_name,
                        json_build_object('type', 'abort_job_requested', 'job_id', changed.id)::text AS notice
                   FROM before JOIN changed ON changed.id = before.id
                  WHERE changed.abort_requested AND NOT before.abort_requested AND changed.status = 'doing') AS asked;
    END IF;
    RETURN NULL;
END $$;

-- Instead of the foreign keys. It acts for the house, whoever deletes: a cascade asks no row rule either.
CREATE FUNCTION house_jobs_gone() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _before text := coalesce(current_setting('app.house', true), '');
BEGIN
    PERFORM set_config('app.house', 'on', true);
    DELETE FROM procrastinate_events USING gone WHERE procrastinate_events.job_id = gone.id;
    DELETE FROM attempts USING gone WHERE attempts.job_id = gone.id;
    DELETE FROM job_records USING gone WHERE job_records.job_id = gone.id;
    PERFORM set_config('app.house', _before, true);
    RETURN NULL;
END $$;

CREATE FUNCTION house_workers_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE procrastinate_jobs SET worker_id = NULL FROM gone
     WHERE procrastinate_jobs.worker_id = gone.id AND procrastinate_jobs.status = 'doing';
    RETURN NULL;
END $$;

CREATE TRIGGER house_workers_gone AFTER DELETE ON procrastinate_workers
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION house_workers_gone();
CREATE TRIGGER house_jobs_put AFTER INSERT ON procrastinate_jobs
    REFERENCING NEW TABLE AS put FOR EACH STATEMENT EXECUTE FUNCTION house_jobs_put();
CREATE TRIGGER house_jobs_changed AFTER UPDATE ON procrastinate_jobs
    REFERENCING OLD TABLE AS before NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION house_jobs_changed();
CREATE TRIGGER house_jobs_gone AFTER DELETE ON procrastinate_jobs
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION house_jobs_gone();

-- A run is written down when it ends. What runs now stands in `doing`: job, worker and turn (the engine's count
-- of attempts, raised by every return to the line) fence it without a row of their own.
DROP INDEX attempts_task_idx;
DROP INDEX attempts_ended_idx;
CREATE INDEX attempts_upkeep_idx ON attempts (task, run) WHERE queue = 'upkeep';
ALTER TABLE worker_leases ADD COLUMN jobs bigint[];

-- Limits in force, one row a queue: workers enter what their settings say, operators change it while all run.
CREATE TABLE queue_limits (
    queue     text PRIMARY KEY,
    together  integer CHECK (together > 0),          -- running at once, over all workers
    starts    integer CHECK (starts > 0),            -- so many starts …
    window_s  double precision CHECK (window_s > 0), -- … in any window of so many seconds
    each      integer CHECK (each > 0),              -- running at once for one owner
    fair      integer CHECK (fair > 0),              -- the same, while others wait
    set_by    bigint REFERENCES users,               -- an operator; NULL: the settings
    set_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((starts IS NULL) = (window_s IS NULL))
);
CALL serve('queue_limits');

-- When an owner was last given a place of a queue for which others waited too.
CREATE TABLE owner_turns (
    queue text NOT NULL,
    owner bigint NOT NULL,
    turn  bigint NOT NULL,
    at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, owner)
);
CALL serve('owner_turns');

-- What is paused: a queue, a task, a platform or an account (`account-7`). Their names differ, so one key serves.
ALTER TABLE pauses ADD COLUMN kind text NOT NULL DEFAULT 'queue'
      CHECK (kind IN ('queue', 'task', 'platform', 'account'));

-- How many runs ended how, a row for each written batch: totals and drawings never count the jobs themselves.
CREATE TABLE queue_tallies (
    at      timestamptz NOT NULL DEFAULT now(),
    queue   text NOT NULL,
    task    text NOT NULL,
    outcome text NOT NULL,
    many    integer NOT NULL,
    ran_s   double precision NOT NULL
);
CREATE INDEX queue_tallies_at_idx ON queue_tallies (at);
CALL serve('queue_tallies');
INSERT INTO queue_tallies (at, queue, task, outcome, many, ran_s)
SELECT date_trunc('minute', ended_at), queue, task, outcome, count(*),
       coalesce(sum(extract(epoch FROM ended_at - started_at)), 0)
  FROM attempts
 WHERE outcome IS NOT NULL
 GROUP BY 1, 2, 3, 4;

-- Which ticks of the timers have rung: the engine forgets older ones, so that a late clock would ring them again.
CREATE TABLE ticks (
    task        text NOT NULL,
    periodic_id text NOT NULL,
    tick        bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, periodic_id, tick)
);
CALL serve('ticks');

CREATE FUNCTION house_tick_rings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticks (task, periodic_id, tick)
    VALUES (NEW.task_name, NEW.periodic_id, NEW.defer_timestamp)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER house_tick_rings BEFORE INSERT ON procrastinate_periodic_defers
    FOR EACH ROW EXECUTE FUNCTION house_tick_rings();

-- Completion and failure events of tasks (S2.46, S2.47): the rows of `attempts`, under the names events have.
CREATE VIEW job_events WITH (security_invoker) AS
SELECT run AS id, ended_at AS at, workspace_id, 'job-' || job_id AS topic,
       task || CASE outcome WHEN 'done' THEN '.completed' WHEN 'cancelled' THEN '.cancelled'
                            WHEN 'failed' THEN '.attempt_failed' ELSE '.failed' END AS name,
       run, jsonb_strip_nulls(jsonb_build_object('reason', reason, 'code', error_code)) AS detail
  FROM attempts
 WHERE outcome IN ('done', 'cancelled', 'failed', 'gave_up', 'unsure');

-- Puts a job in the caller's transaction. A waiting twin with the same `once` is found instead of a second made.
CREATE OR REPLACE FUNCTION put_job(
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
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
                                        owner)
        VALUES (_queue, _task, _priority, _lock, _once, _args, _at, coalesce(_workspace_id, 0))
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

-- Puts many jobs of one task in one statement; twins that wait are left as they are. Gives the ids of the new ones.
CREATE FUNCTION put_jobs(
    _queue text, _task text, _priority integer, _locks text[], _onces text[], _args jsonb, _at timestamptz,
    _workspace_id bigint, _correlation_id text
) RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF _workspace_id IS DISTINCT FROM app_workspace() AND NOT in_house() THEN
        RAISE EXCEPTION 'a job may be put for the own workspace only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
    WITH put AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at,
                                        owner)
        SELECT _queue, _task, _priority, _locks[place], _onces[place], args, _at, coalesce(_workspace_id, 0)
          FROM jsonb_array_elements(_args) WITH ORDINALITY AS given (args, place)
         ORDER BY place
            ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        RETURNING id),
    recorded AS (
        INSERT INTO job_records (job_id, workspace_id, correlation_id, waiting_until)
        SELECT id, _workspace_id, _correlation_id, _at FROM put)
    SELECT id FROM put ORDER BY id;
END $$;

-- A person's retry of an ended job: the same job, a fresh count of tries. False when it is not ended.
-- The engine's count goes on: it tells this turn from every one before it.
CREATE OR REPLACE FUNCTION retry_job(_job_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    _queue text;
BEGIN
    PERFORM FROM job_records WHERE job_id = _job_id AND (workspace_id = app_workspace() OR in_house()) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE procrastinate_jobs
       SET status = 'todo', scheduled_at = NULL, abort_requested = false, worker_id = NULL, attempts = attempts + 1
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

-- What pages may know of their workspace's jobs: as before, and when a job ended that ended well.
CREATE OR REPLACE VIEW owned_jobs WITH (security_barrier) AS
SELECT jobs.id, jobs.queue_name AS queue, jobs.task_name AS task, jobs.status::text AS status, jobs.priority,
       jobs.scheduled_at, records.workspace_id, records.put_at, records.waiting_for, records.waiting_until,
       records.cancel_reason,
       coalesce(records.ended_at,
                CASE WHEN jobs.status NOT IN ('todo', 'doing')
                     THEN (SELECT max(attempts.ended_at) FROM attempts WHERE attempts.job_id = jobs.id) END) AS ended_at,
       records.round
  FROM job_records AS records
  JOIN procrastinate_jobs AS jobs ON jobs.id = records.job_id
 WHERE records.workspace_id = app_workspace() OR in_house();

-- Jobs ahead of a waiting one that may start now, counted up to a thousand.
CREATE OR REPLACE FUNCTION jobs_ahead(_job_id bigint) RETURNS bigint LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)
      FROM (SELECT
              FROM procrastinate_jobs AS mine
              JOIN procrastinate_jobs AS other
                ON other.queue_name = mine.queue_name AND other.status = 'todo' AND other.scheduled_at IS NULL
               AND (other.priority > mine.priority OR (other.priority = mine.priority AND other.id < mine.id))
             WHERE mine.id = _job_id AND mine.status = 'todo'
             LIMIT 1000) AS ahead
$$;

-- Taking. The planner's settings are those of `pump_jobs`, which calls all that follows.
-- Jobs whose time has come become ready; whoever looks first does it, at most so many at once.
CREATE FUNCTION ripen_jobs(_most integer DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _many bigint;
BEGIN
    IF (SELECT scheduled_at FROM procrastinate_jobs
         WHERE status = 'todo' AND scheduled_at IS NOT NULL
         ORDER BY scheduled_at LIMIT 1) <= clock_timestamp() IS NOT TRUE THEN
        RETURN 0;
    END IF;
    UPDATE procrastinate_jobs
       SET scheduled_at = NULL
     WHERE id = ANY (ARRAY(SELECT id
                             FROM procrastinate_jobs
                            WHERE status = 'todo' AND scheduled_at <= clock_timestamp()
                            ORDER BY scheduled_at
                            LIMIT _most
                              FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS _many = ROW_COUNT;
    RETURN _many;
END $$;

-- How many more jobs of this queue may be taken now: the worker's room, and some ahead of it where no limit holds;
-- else what the limits leave, and the row's lock makes that answer last until the claim is written.
CREATE FUNCTION places_left(_queue text, _room integer, _ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    _limit queue_limits;
BEGIN
    SELECT * INTO _limit FROM queue_limits WHERE queue = _queue;
    IF NOT FOUND OR (_limit.together IS NULL AND _limit.starts IS NULL AND _limit.each IS NULL
                     AND _limit.fair IS NULL) THEN
        RETURN _room + _ahead;
    END IF;
    SELECT * INTO _limit FROM queue_limits WHERE queue = _queue FOR UPDATE;
    IF _limit.together IS NOT NULL THEN
        _room := least(_room, _limit.together - (SELECT count(*) FROM procrastinate_jobs
                                                  WHERE queue_name || '' = _queue AND status = 'doing'));
    END IF;
    IF _limit.starts IS NOT NULL THEN
        _room := least(_room, _limit.starts - (SELECT count(*) FROM limit_grants
                                                WHERE key = 'queue-' || _queue AND started
                                                  AND at > clock_timestamp() - make_interval(secs => _limit.window_s)));
    END IF;
    RETURN greatest(_room, 0);
END $$;

-- The ids of the next `_room` free jobs at one priority, in the order in which they should start, shared between
-- owners: whoever was given a place last comes last, and each one's oldest job first. None has more than `_cap`
-- running, what this claim has picked before counted in. Only what is picked is locked, so two claims at once do not
-- keep jobs from each other.
CREATE FUNCTION share_places(
    _queue text, _priority integer, _room integer, _cap integer, _before bigint[], _paused text[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    -- With more owners than this in line each gets one place in turn, by its number; with fewer, the one who was
    -- served least lately comes first.
    _most CONSTANT integer := 100;
    -- The owner under whose number the wheel is kept: nobody's.
    _wheel CONSTANT bigint := -1;
    _owners bigint[];
    _found bigint[];
    _from bigint;
    _turning boolean := false;
    _held bigint[] := '{}';
    _deep integer;
    _seen integer;
    _longest integer;
    _last bigint;
    _picked bigint[] := '{}';
    _served bigint[];
BEGIN
    SELECT owner INTO _from
      FROM procrastinate_jobs
     WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
       AND priority + 0 = _priority
     ORDER BY owner LIMIT 1;
    IF NOT FOUND THEN
        RETURN _picked;
    END IF;
    SELECT owner INTO _last
      FROM procrastinate_jobs
     WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
       AND priority + 0 = _priority
     ORDER BY owner DESC LIMIT 1;
    IF _before <> '{}' AND _cap IS NOT NULL THEN
        _held := ARRAY(SELECT owner FROM procrastinate_jobs WHERE id = ANY (_before));
    END IF;
    IF _from = _last THEN
        IF _cap IS NOT NULL THEN
            _room := greatest(0, least(_room, _cap - cardinality(array_positions(_held, _from))
                                              - (SELECT count(*) FROM procrastinate_jobs
                                                  WHERE queue_name || '' = _queue AND status = 'doing'
                                                    AND owner = _from)));
        END IF;
        _picked := ARRAY(SELECT id FROM procrastinate_jobs
                          WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                            AND priority + 0 = _priority AND owner = _from AND task_name <> ALL (_paused)
                            AND (_before = '{}' OR id <> ALL (_before))
                          ORDER BY id + 0
                          LIMIT _room
                            FOR UPDATE SKIP LOCKED);
        -- Written now and then only: it has to be told from an owner who was never served.
        IF _picked = '{}' OR EXISTS (SELECT FROM owner_turns
                                      WHERE queue = _queue AND owner = _from
                                        AND at > clock_timestamp() - interval '0.1 s') THEN
            RETURN _picked;
        END IF;
        _served := ARRAY[_from];
    ELSE
        LOOP
            WITH RECURSIVE waiting AS (
                (SELECT owner, 1 AS place FROM procrastinate_jobs
                  WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                    AND priority + 0 = _priority AND owner >= _from
                  ORDER BY owner LIMIT 1)
                UNION ALL
                SELECT (SELECT jobs.owner FROM procrastinate_jobs AS jobs
                         WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                           AND jobs.lock IS NULL AND jobs.priority + 0 = _priority AND jobs.owner > waiting.owner
                         ORDER BY jobs.owner LIMIT 1),
                       waiting.place + 1
                  FROM waiting
                 WHERE waiting.owner IS NOT NULL AND waiting.place <= _most + CASE WHEN _turning THEN _room ELSE 0 END)
            SELECT coalesce(array_agg(owner ORDER BY place), '{}') INTO _found FROM waiting WHERE owner IS NOT NULL;
            EXIT WHEN _turning OR cardinality(_found) <= _most;
            _turning := true;
            _owners := _found;
            _from := coalesce((SELECT turn + 1 FROM owner_turns WHERE queue = _queue AND owner = _wheel), _from);
        END LOOP;
        _owners := _found || ARRAY(SELECT owner FROM unnest(_owners) AS owner WHERE owner < _from);
        -- One look finds enough, unless others take the same jobs at this moment or few owners have many.
        FOREACH _deep IN ARRAY ARRAY[1 + 2 * _room / cardinality(_owners),
                                     _room + least(50, 2000 / cardinality(_owners))]
        LOOP
            WITH line AS MATERIALIZED (
                SELECT waiting.owner, head.id, head.place,
                       CASE WHEN _turning THEN waiting.place ELSE coalesce(turns.turn, 0) END AS turn
                  FROM unnest(_owners) WITH ORDINALITY AS waiting (owner, place)
                  LEFT JOIN owner_turns AS turns ON turns.queue = _queue AND turns.owner = waiting.owner
                 CROSS JOIN LATERAL (
                     SELECT CASE WHEN _cap IS NOT NULL
                                 THEN _cap - cardinality(array_positions(_held, waiting.owner))
                                      - (SELECT count(*) FROM procrastinate_jobs AS jobs
                                          WHERE jobs.queue_name || '' = _queue AND jobs.status = 'doing'
                                            AND jobs.owner = waiting.owner) END AS many) AS allowed
                 CROSS JOIN LATERAL (
                     SELECT heads.id, row_number() OVER (ORDER BY heads.id) AS place
                       FROM (SELECT jobs.id FROM procrastinate_jobs AS jobs
                              WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                                AND jobs.lock IS NULL AND jobs.priority + 0 = _priority
                                AND jobs.owner = waiting.owner AND jobs.task_name <> ALL (_paused)
                                AND (_before = '{}' OR jobs.id <> ALL (_before))
                              ORDER BY jobs.id + 0
                              LIMIT greatest(least(_deep, allowed.many), 0)) AS heads) AS head),
            picked AS (
                SELECT jobs.id, line.owner
                  FROM line
                  JOIN procrastinate_jobs AS jobs ON jobs.id = line.id
                 WHERE jobs.status::text = 'todo'
                 ORDER BY line.place, line.turn, line.id
                 LIMIT _room
                   FOR UPDATE OF jobs SKIP LOCKED)
            SELECT coalesce(array_agg(id), '{}'), array_agg(DISTINCT owner), (SELECT count(*) FROM line),
                   (SELECT max(place) FROM line)
              INTO _picked, _served, _seen, _longest
              FROM picked;
            -- Enough, or all there is: nobody else held any of it, and no owner's line was cut.
            EXIT WHEN cardinality(_picked) >= _room
                   OR (_seen = cardinality(_picked) AND coalesce(_longest, 0) < _deep);
        END LOOP;
    END IF;
    IF _turning THEN
        -- The next claim begins behind the last one served, or behind all that were looked at.
        _last := CASE WHEN cardinality(_picked) < _room
                      THEN coalesce(_found[cardinality(_found)], _owners[cardinality(_owners)])
                      ELSE _owners[(SELECT max(array_position(_owners, owner)) FROM unnest(_served) AS owner)] END;
        UPDATE owner_turns SET turn = _last, at = clock_timestamp()
         WHERE queue = _queue AND owner = (SELECT owner FROM owner_turns
                                            WHERE queue = _queue AND owner = _wheel FOR UPDATE SKIP LOCKED);
        INSERT INTO owner_turns (queue, owner, turn)
        SELECT _queue, _wheel, _last
         WHERE NOT EXISTS (SELECT FROM owner_turns WHERE queue = _queue AND owner = _wheel)
            ON CONFLICT DO NOTHING;
        RETURN _picked;
    END IF;
    IF _picked = '{}' THEN
        RETURN _picked;
    END IF;
    -- A turn that another claim writes at this moment needs no second writing.
    UPDATE owner_turns AS turns
       SET turn = nextval('runs'), at = clock_timestamp()
      FROM (SELECT owner FROM owner_turns
             WHERE queue = _queue AND owner = ANY (_served)
               FOR UPDATE SKIP LOCKED) AS mine
     WHERE turns.queue = _queue AND turns.owner = mine.owner;
    INSERT INTO owner_turns (queue, owner, turn)
    SELECT _queue, owner, nextval('runs')
      FROM unnest(_served) AS served (owner)
     WHERE NOT EXISTS (SELECT FROM owner_turns AS turns WHERE turns.queue = _queue AND turns.owner = served.owner)
        ON CONFLICT DO NOTHING;
    RETURN _picked;
END $$;

-- The first waiting job of each lock that nobody holds, in this queue and at this priority; none of an owner who has
-- `_cap` running, what this claim has picked before counted in.
CREATE FUNCTION first_of_locks(
    _queue text, _priority integer, _room integer, _cap integer, _before bigint[], _paused text[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    _found bigint[];
    _held bigint[] := '{}';
BEGIN
    IF _cap IS NOT NULL AND _before <> '{}' THEN
        _held := ARRAY(SELECT owner FROM procrastinate_jobs WHERE id = ANY (_before));
    END IF;
    WITH RECURSIVE locks AS (
        (SELECT lock FROM procrastinate_jobs
          WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL ORDER BY lock LIMIT 1)
        UNION ALL
        SELECT (SELECT jobs.lock FROM procrastinate_jobs AS jobs
                 WHERE jobs.status = 'todo' AND jobs.scheduled_at IS NULL AND jobs.lock IS NOT NULL
                   AND jobs.lock > locks.lock
                 ORDER BY jobs.lock LIMIT 1)
          FROM locks
         WHERE locks.lock IS NOT NULL),
    heads AS (
        SELECT head.id, head.owner, row_number() OVER (PARTITION BY head.owner ORDER BY head.id) AS place
          FROM locks
         CROSS JOIN LATERAL (SELECT first.id, first.queue_name, first.priority, first.task_name, first.owner
                               FROM procrastinate_jobs AS first
                              WHERE first.lock = locks.lock AND first.status = 'todo' AND first.scheduled_at IS NULL
                              ORDER BY first.priority + 0 DESC, first.id + 0
                              LIMIT 1) AS head
         WHERE locks.lock IS NOT NULL AND head.queue_name = _queue AND head.priority = _priority
           AND head.task_name <> ALL (_paused) AND head.id <> ALL (_before)
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS holder
                            WHERE holder.lock = locks.lock AND holder.status = 'doing')),
    allowed AS (
        SELECT id
          FROM heads
         WHERE _cap IS NULL
            OR place <= _cap - cardinality(array_positions(_held, heads.owner))
                        - (SELECT count(*) FROM procrastinate_jobs AS jobs
                            WHERE jobs.queue_name || '' = _queue AND jobs.status = 'doing'
                              AND jobs.owner = heads.owner))
    SELECT ARRAY(
        SELECT jobs.id
          FROM allowed
          JOIN procrastinate_jobs AS jobs ON jobs.id = allowed.id
         WHERE jobs.status::text = 'todo'
         ORDER BY jobs.id
         LIMIT _room
           FOR UPDATE OF jobs SKIP LOCKED)
      INTO _found;
    RETURN _found;
END $$;

-- The next jobs of one queue, highest priority first, at most `_room`. With a fair share no owner gets more than that
-- running while another waits; what is cancelled needs no place, since it only has to be told.
CREATE FUNCTION pick_jobs(_queue text, _room integer, _ahead integer, _paused text[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    _picked bigint[] := '{}';
    _free bigint[];
    _held bigint[];
    _told bigint[] := '{}';
    _below integer;
    _priority integer;
    _limit queue_limits;
    _locks boolean;
    _cap integer;
    _sharing boolean;
    _others integer;
    _places integer := places_left(_queue, _room, _ahead);
BEGIN
    SELECT * INTO _limit FROM queue_limits WHERE queue = _queue;
    _locks := (SELECT lock FROM procrastinate_jobs
                WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL
                ORDER BY lock LIMIT 1) IS NOT NULL;
    IF _places < _room OR _limit.each IS NOT NULL OR _limit.fair IS NOT NULL OR _limit.starts IS NOT NULL THEN
        -- The priority of `stop`: before every one of the product.
        _told := ARRAY(SELECT jobs.id
                         FROM procrastinate_jobs AS jobs
                        WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                          AND jobs.lock IS NULL AND jobs.priority + 0 = 0
                          AND (SELECT cancel_reason FROM job_records WHERE job_records.job_id = jobs.id) IS NOT NULL
                        ORDER BY jobs.owner, jobs.id + 0
                        LIMIT _room
                          FOR UPDATE SKIP LOCKED);
        _places := least(_places, _room - cardinality(_told));
    END IF;
    IF NOT _locks AND _limit.each IS NULL AND _limit.fair IS NULL THEN
        -- Where everything that is ready has a place, there is nothing to share.
        _free := ARRAY(SELECT id FROM procrastinate_jobs
                        WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                          AND task_name <> ALL (_paused) AND id <> ALL (_told)
                        ORDER BY priority + 0 DESC
                        LIMIT least(_places, 20) + 1);
        IF cardinality(_free) <= least(_places, 20) THEN
            _picked := ARRAY(SELECT id FROM procrastinate_jobs
                              WHERE id = ANY (_free) AND status::text = 'todo'
                              ORDER BY priority DESC, id
                                FOR UPDATE SKIP LOCKED);
            _places := cardinality(_picked);
        END IF;
    END IF;
    _sharing := _limit.fair IS NOT NULL;
    LOOP
        _cap := CASE WHEN _sharing THEN least(_limit.each, _limit.fair) ELSE _limit.each END;
        _below := 2147483647;
        WHILE cardinality(_picked) < _places LOOP
            SELECT priority INTO _priority
              FROM procrastinate_jobs
             WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
               AND priority + 0 < _below
             ORDER BY priority + 0 DESC
             LIMIT 1;
            IF _locks THEN
                _priority := greatest(_priority, (SELECT max(priority) FROM procrastinate_jobs
                                                   WHERE queue_name = _queue AND status = 'todo'
                                                     AND scheduled_at IS NULL AND lock IS NOT NULL
                                                     AND priority < _below));
            END IF;
            EXIT WHEN _priority IS NULL;
            _free := share_places(_queue, _priority, _places - cardinality(_picked), _cap, _told || _picked, _paused);
            IF _locks THEN
                _held := first_of_locks(_queue, _priority, _places - cardinality(_picked), _cap,
                                        _told || _picked || _free, _paused);
                _free := ARRAY(SELECT id
                                 FROM (SELECT id, place FROM unnest(_free) WITH ORDINALITY AS free (id, place)
                                        UNION ALL
                                       SELECT id, place FROM unnest(_held) WITH ORDINALITY AS held (id, place)) AS zip
                                ORDER BY place, id
                                LIMIT _places - cardinality(_picked));
            END IF;
            _picked := _picked || _free;
            _below := _priority;
        END LOOP;
        EXIT WHEN NOT _sharing OR cardinality(_picked) >= _places;
        -- Everybody has a fair share; only one who waits alone may have more.
        WITH RECURSIVE waiting AS (
            (SELECT priority, owner FROM procrastinate_jobs
              WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
              ORDER BY priority + 0 DESC, owner LIMIT 1)
            UNION ALL
            SELECT next.priority, next.owner
              FROM waiting
             CROSS JOIN LATERAL (
                 (SELECT jobs.priority, jobs.owner FROM procrastinate_jobs AS jobs
                   WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                     AND jobs.lock IS NULL AND jobs.priority + 0 = waiting.priority AND jobs.owner > waiting.owner
                   ORDER BY jobs.owner LIMIT 1)
                  UNION ALL
                 (SELECT jobs.priority, jobs.owner FROM procrastinate_jobs AS jobs
                   WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                     AND jobs.lock IS NULL AND jobs.priority + 0 < waiting.priority
                   ORDER BY jobs.priority + 0 DESC, jobs.owner LIMIT 1)
                 LIMIT 1) AS next)
        SELECT count(DISTINCT owner) INTO _others
          FROM waiting
         WHERE EXISTS (SELECT FROM procrastinate_jobs AS jobs
                        WHERE jobs.queue_name = _queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                          AND jobs.lock IS NULL AND jobs.priority + 0 = waiting.priority
                          AND jobs.owner = waiting.owner AND jobs.id <> ALL (_told || _picked)
                          AND jobs.task_name <> ALL (_paused));
        EXIT WHEN _others <> 1;
        _sharing := false;
    END LOOP;
    IF _limit.starts IS NOT NULL AND _picked <> '{}' THEN
        INSERT INTO limits (key) VALUES ('queue-' || _queue) ON CONFLICT DO NOTHING;
        -- A job begins a little later than it is picked, how much differs: a start counts as late as it may be, and
        -- one that could not begin until then goes back.
        INSERT INTO limit_grants (key, holder, at, started)
        SELECT 'queue-' || _queue, 'job-' || id,
               clock_timestamp() + make_interval(secs => least(0.25, _limit.window_s / 10)), true
          FROM unnest(_picked) AS id;
    END IF;
    RETURN _told || _picked;
END $$;

-- Gives a worker its next jobs: of each queue at most as many as it has room for. Each comes with the number of its
-- run, and with how many tries it has had in this round, this one included.
CREATE FUNCTION take_jobs(_worker bigint, _queues text[], _rooms integer[], _aheads integer[])
RETURNS TABLE (job_id bigint, queue text, task text, args jsonb, turn integer, run bigint, round integer,
               workspace_id bigint, correlation_id text, tries bigint, rescues integer, cancel_reason text,
               waited_s double precision)
LANGUAGE plpgsql AS $$
DECLARE
    _queue text;
    _room integer;
    _ahead integer;
    _picked bigint[] := '{}';
    _paused text[];
BEGIN
    IF NOT EXISTS (SELECT FROM procrastinate_workers WHERE id = _worker) THEN
        RAISE EXCEPTION 'worker % is not listed', _worker USING ERRCODE = 'foreign_key_violation';
    END IF;
    FOR _queue, _room, _ahead IN
        SELECT asked.queue, asked.room, asked.ahead
          FROM unnest(_queues, _rooms, _aheads) AS asked (queue, room, ahead)
         WHERE asked.room + asked.ahead > 0
           AND coalesce((SELECT jobs.id FROM procrastinate_jobs AS jobs
                          WHERE jobs.queue_name = asked.queue AND jobs.status = 'todo' AND jobs.scheduled_at IS NULL
                            AND jobs.lock IS NULL
                          ORDER BY jobs.priority + 0 DESC LIMIT 1),
                        (SELECT jobs.id FROM procrastinate_jobs AS jobs
                          WHERE jobs.status = 'todo' AND jobs.scheduled_at IS NULL AND jobs.lock IS NOT NULL
                          ORDER BY jobs.lock LIMIT 1)) IS NOT NULL
           AND NOT EXISTS (SELECT FROM pauses WHERE pauses.queue = asked.queue AND pauses.kind = 'queue')
         ORDER BY asked.queue
    LOOP
        _paused := coalesce(_paused, ARRAY(SELECT pauses.queue FROM pauses WHERE pauses.kind = 'task'));
        _picked := _picked || pick_jobs(_queue, _room, _ahead, _paused);
    END LOOP;
    IF _picked = '{}' THEN
        RETURN;
    END IF;
    -- Arrays and text, so that the primary key is the only way to go, whatever the statistics say.
    RETURN QUERY
    WITH taken AS (
        UPDATE procrastinate_jobs AS jobs
           SET status = 'doing', worker_id = _worker
         WHERE jobs.id = ANY (_picked) AND jobs.status::text = 'todo'
        RETURNING jobs.id, jobs.queue_name, jobs.task_name, jobs.args, jobs.attempts, jobs.owner)
    SELECT taken.id, taken.queue_name::text, taken.task_name::text, taken.args, taken.attempts, nextval('runs'),
           coalesce(records.round, 1), nullif(taken.owner, 0),
           coalesce(records.correlation_id, 'job-' || taken.id),
           CASE WHEN taken.attempts = 0 THEN 1
                ELSE 1 + (SELECT count(*) FROM attempts
                           WHERE attempts.job_id = taken.id AND attempts.round = coalesce(records.round, 1)
                             AND attempts.outcome IN ('failed', 'unsure')) END,
           coalesce(records.rescues, 0), records.cancel_reason,
           extract(epoch FROM clock_timestamp() - greatest(records.put_at, records.waiting_until))::float8
      FROM taken
      LEFT JOIN LATERAL (SELECT * FROM job_records WHERE job_records.job_id = taken.id OFFSET 0) AS records ON true
     ORDER BY array_position(_picked, taken.id);
END $$;

-- Ends runs that went well, those that are still this worker's: engine's row, history and tallies together. Gives
-- the jobs whose end is now written, also when an answer was lost and it had been written before.
CREATE FUNCTION end_jobs(
    _worker bigint, _jobs bigint[], _turns integer[], _runs bigint[], _rounds integer[], _ages_s double precision[],
    _ran_s double precision[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    _saved bigint[];
BEGIN
    WITH saved AS (
        UPDATE procrastinate_jobs AS jobs
           SET status = 'succeeded', attempts = jobs.attempts + 1, abort_requested = false
         WHERE jobs.id = ANY (_jobs) AND jobs.status::text = 'doing' AND jobs.worker_id = _worker
           AND jobs.attempts = _turns[array_position(_jobs, jobs.id)]
        RETURNING jobs.id, jobs.queue_name, jobs.task_name, jobs.owner, array_position(_jobs, jobs.id) AS place),
    noted AS (
        INSERT INTO attempts (run, job_id, workspace_id, round, worker_id, queue, task, started_at, ended_at, outcome)
        SELECT _runs[place], id, nullif(owner, 0), _rounds[place], _worker, queue_name, task_name,
               clock_timestamp() - make_interval(secs => _ages_s[place]),
               clock_timestamp() - make_interval(secs => _ages_s[place] - _ran_s[place]), 'done'
          FROM saved),
    tallied AS (
        INSERT INTO queue_tallies (queue, task, outcome, many, ran_s)
        SELECT queue_name, task_name, 'done', count(*), sum(_ran_s[place]) FROM saved GROUP BY queue_name, task_name)
    SELECT array_agg(id) INTO _saved FROM saved;
    IF cardinality(_saved) = cardinality(_jobs) THEN
        RETURN _saved;
    END IF;
    RETURN coalesce(_saved, '{}')
        || ARRAY(SELECT attempts.job_id FROM unnest(_runs) AS mine (run) JOIN attempts ON attempts.run = mine.run
                  WHERE attempts.outcome = 'done' AND attempts.worker_id = _worker
                    AND attempts.job_id <> ALL (coalesce(_saved, '{}')));
END $$;

-- Puts jobs back that this worker took and did not begin: no turn is used, and of the starts that a limit counts only
-- that of this very claim is given back: an earlier one was used.
CREATE FUNCTION return_jobs(_worker bigint, _jobs bigint[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    _mine bigint[];
    _many integer;
BEGIN
    _mine := ARRAY(SELECT id FROM procrastinate_jobs
                    WHERE id = ANY (_jobs) AND status::text = 'doing' AND worker_id = _worker
                    ORDER BY id
                      FOR UPDATE);
    UPDATE procrastinate_jobs AS jobs
       SET status = 'todo', worker_id = NULL, abort_requested = false
     WHERE jobs.id = ANY (_mine) AND jobs.status::text = 'doing'
       AND NOT EXISTS (SELECT FROM procrastinate_jobs AS twin
                        WHERE twin.queueing_lock = jobs.queueing_lock AND twin.status = 'todo');
    GET DIAGNOSTICS _many = ROW_COUNT;
    -- A twin with the same queueing lock was put meanwhile: it does the work.
    UPDATE procrastinate_jobs AS jobs
       SET status = 'aborted', attempts = attempts + 1, abort_requested = false
     WHERE jobs.id = ANY (_mine) AND jobs.status::text = 'doing' AND jobs.worker_id = _worker;
    DELETE FROM limit_grants
     WHERE id = ANY (ARRAY(SELECT (SELECT latest.id FROM limit_grants AS latest
                                    WHERE latest.holder = 'job-' || job AND latest.started
                                      AND latest.key LIKE 'queue-%'
                                    ORDER BY latest.at DESC
                                    LIMIT 1)
                             FROM unnest(_mine) AS job));
    PERFORM wake_queue(queue_name, 0)
       FROM (SELECT DISTINCT queue_name FROM procrastinate_jobs WHERE id = ANY (_mine)) AS queues;
    RETURN _many;
END $$;

-- After a lost answer: puts back what this worker was given and does not know of.
CREATE FUNCTION return_unheard(_worker bigint, _known bigint[]) RETURNS integer LANGUAGE sql AS $$
    SELECT return_jobs(_worker, coalesce((SELECT array_agg(id) FROM procrastinate_jobs
                                           WHERE worker_id = _worker AND status = 'doing' AND id <> ALL (_known)), '{}'))
$$;

-- Seconds until the next job of these queues may be ready: the next time of a scheduled one, or the next start a
-- limit allows while something waits.
CREATE FUNCTION next_ready_s(_queues text[]) RETURNS double precision LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT extract(epoch FROM least(
               (SELECT scheduled_at FROM procrastinate_jobs
                 WHERE status = 'todo' AND scheduled_at IS NOT NULL
                 ORDER BY scheduled_at LIMIT 1),
               (SELECT min(grants.at + make_interval(secs => queue_limits.window_s))
                  FROM queue_limits
                 CROSS JOIN LATERAL (SELECT at FROM limit_grants
                                      WHERE key = 'queue-' || queue_limits.queue AND started
                                      ORDER BY at DESC
                                     OFFSET queue_limits.starts - 1 LIMIT 1) AS grants
                 WHERE queue_limits.queue = ANY (_queues) AND queue_limits.starts IS NOT NULL
                   AND grants.at + make_interval(secs => queue_limits.window_s) > clock_timestamp()
                   AND (SELECT jobs.id FROM procrastinate_jobs AS jobs
                         WHERE jobs.queue_name = queue_limits.queue AND jobs.status = 'todo'
                           AND jobs.scheduled_at IS NULL AND jobs.lock IS NULL
                         ORDER BY jobs.priority + 0 DESC LIMIT 1) IS NOT NULL)
           ) - clock_timestamp())::float8);
END $$;

-- One step of a worker: write what ended, put back what was not begun, take what comes next. The last row has
-- no job: it says what was saved, whether more is ready (turn 1), and else when to look again (waited_s).
CREATE FUNCTION pump_jobs(
    _worker bigint, _queues text[], _rooms integer[], _aheads integer[], _ripen boolean,
    _jobs bigint[] DEFAULT '{}', _turns integer[] DEFAULT '{}', _runs bigint[] DEFAULT '{}',
    _rounds integer[] DEFAULT '{}', _ages_s double precision[] DEFAULT '{}',
    _ran_s double precision[] DEFAULT '{}', _topics text[] DEFAULT '{}', _returned bigint[] DEFAULT '{}'
) RETURNS TABLE (job_id bigint, queue text, task text, args jsonb, turn integer, run bigint, round integer,
                 workspace_id bigint, correlation_id text, tries bigint, rescues integer, cancel_reason text,
                 waited_s double precision, saved bigint[])
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    _saved bigint[];
    _taken integer := 0;
BEGIN
    IF _jobs <> '{}' THEN
        _saved := end_jobs(_worker, _jobs, _turns, _runs, _rounds, _ages_s, _ran_s);
        PERFORM pg_notify('live', '{"t": "' || topic || '"}') FROM unnest(_topics) AS topic;
    END IF;
    IF _returned <> '{}' THEN
        PERFORM return_jobs(_worker, _returned);
    END IF;
    IF _ripen THEN
        PERFORM ripen_jobs();
    END IF;
    IF _queues <> '{}' THEN
        RETURN QUERY SELECT taken.*, NULL::bigint[] FROM take_jobs(_worker, _queues, _rooms, _aheads) AS taken;
        GET DIAGNOSTICS _taken = ROW_COUNT;
    END IF;
    job_id := NULL;
    saved := _saved;
    IF _taken > 0 THEN
        -- Where starts are counted: within how many seconds a job has to begin, as `pick_jobs` counted on.
        args := (SELECT jsonb_object_agg(queue_limits.queue, least(0.25, window_s / 10))
                   FROM queue_limits
                  WHERE queue_limits.queue = ANY (_queues) AND starts IS NOT NULL);
    END IF;
    -- Fewer than there was room for: nothing more is ready now.
    IF _taken >= (SELECT sum(room) FROM unnest(_rooms) AS room) AND _taken > 0 THEN
        turn := 1;
    ELSE
        waited_s := next_ready_s(_queues);
    END IF;
    RETURN NEXT;
END $$;

-- One beat of a worker: its lease, what it runs, cancels it may have missed, whether a neighbour is lost, when the
-- next job is due, and whether anything moved within the hour. It echoes to the worker's own ear.
CREATE FUNCTION beat_worker(
    _worker bigint, _running bigint[], _runs bigint[], _listening boolean, _stopping boolean, _operations bigint,
    _queues text[], _echo text
) RETURNS TABLE (known boolean, cancels jsonb, neighbours text[], lost boolean, next_s double precision,
                 server_s double precision, busy boolean, ready boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
BEGIN
    UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = _worker;
    known := FOUND;
    IF known THEN
        UPDATE worker_leases
           SET seen_at = clock_timestamp(), runs = _runs, jobs = _running, listening = _listening,
               stopping = _stopping
         WHERE worker_id = _worker;
        known := FOUND;
    END IF;
    INSERT INTO queue_usage (month, operations)
    VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'), _operations)
        ON CONFLICT (month) DO UPDATE SET operations = queue_usage.operations + excluded.operations;
    IF _running <> '{}' THEN
        SELECT jsonb_object_agg(jobs.id, coalesce(records.cancel_reason, 'Cancelled.')) INTO cancels
          FROM procrastinate_jobs AS jobs
          LEFT JOIN job_records AS records ON records.job_id = jobs.id
         WHERE jobs.id = ANY (_running) AND jobs.abort_requested;
    END IF;
    SELECT array_agg(DISTINCT leases.process) FILTER (WHERE leases.worker_id <> _worker),
           coalesce(bool_or(coalesce(leases.seen_at, workers.last_heartbeat, '-infinity') < clock_timestamp() - interval '30 s'
                            OR (jobs.id <> ALL (leases.jobs)
                                AND (SELECT max(at) FROM procrastinate_events AS told
                                      WHERE told.job_id = jobs.id AND told.type = 'started')
                                    < clock_timestamp() - interval '30 s')), false)
      INTO neighbours, lost
      FROM procrastinate_jobs AS jobs
      LEFT JOIN worker_leases AS leases ON leases.worker_id = jobs.worker_id
      LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id
     WHERE jobs.status = 'doing';
    next_s := next_ready_s(_queues);
    server_s := extract(epoch FROM clock_timestamp() - pg_postmaster_start_time());
    busy := EXISTS (SELECT FROM queue_tallies WHERE at > now() - interval '1 h' AND queue <> 'upkeep')
         OR EXISTS (SELECT FROM procrastinate_jobs AS jobs WHERE jobs.status = 'doing' AND jobs.queue_name <> 'upkeep')
         OR (SELECT jobs.id FROM procrastinate_jobs AS jobs
              WHERE jobs.status = 'todo' AND jobs.scheduled_at IS NULL AND jobs.lock IS NULL
                AND jobs.queue_name <> 'upkeep'
              ORDER BY jobs.queue_name, jobs.priority + 0 DESC LIMIT 1) IS NOT NULL;
    -- The net for a notice that was lost: is anything ready for this worker?
    ready := (SELECT lock FROM procrastinate_jobs
               WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL
               ORDER BY lock LIMIT 1) IS NOT NULL
          OR EXISTS (SELECT
                       FROM unnest(_queues) AS asked (queue)
                      WHERE (SELECT jobs.id FROM procrastinate_jobs AS jobs
                              WHERE jobs.queue_name = asked.queue AND jobs.status = 'todo'
                                AND jobs.scheduled_at IS NULL AND jobs.lock IS NULL
                              ORDER BY jobs.priority + 0 DESC LIMIT 1) IS NOT NULL);
    PERFORM pg_notify('live', '{"t": "queues"}'), pg_notify(_echo, '');
    RETURN NEXT;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_page') THEN
        GRANT SELECT ON job_events TO backlot_page;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
        GRANT SELECT ON job_events TO backlot_house;
    END IF;
END $$;

ALTER TABLE procrastinate_events SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE procrastinate_jobs SET (autovacuum_analyze_scale_factor = 0.02);
