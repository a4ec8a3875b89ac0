-- What is told about the queue: counted from indexes of its own and up to a limit, so that a page costs the same
-- beside ten finished jobs and a million, whatever the statistics say.

-- Later jobs by queue, and the rare ends: each row here is written once or twice, never by the short way of a job.
-- The `|| ''` ties our questions to them: by the engine's own index of queues the planner would walk through a
-- million done jobs in search of those that wait, as soon as its statistics are good.
CREATE INDEX house_later_idx ON procrastinate_jobs ((queue_name || ''), scheduled_at)
       WHERE status = 'todo' AND scheduled_at IS NOT NULL;
CREATE INDEX house_failed_idx ON procrastinate_jobs ((queue_name || '')) WHERE status = 'failed';
CREATE INDEX house_cancelled_idx ON procrastinate_jobs ((queue_name || '')) WHERE status IN ('cancelled', 'aborted');
CREATE INDEX attempts_queue_trouble_idx ON attempts (queue, ended_at) WHERE outcome NOT IN ('done', 'waiting');

-- When the last of the runs joined in one row ended; NULL: at `at` itself.
ALTER TABLE queue_tallies ADD COLUMN last_at timestamptz;

-- What the tallies told that are forgotten by now: with them, the totals only grow.
CREATE TABLE queue_totals (
    queue   text NOT NULL,
    task    text NOT NULL,
    outcome text NOT NULL,
    many    bigint NOT NULL,
    ran_s   double precision NOT NULL,
    PRIMARY KEY (queue, task, outcome)
);
CALL serve('queue_totals');

-- Joins the tallies of past minutes, and of past hours, to one row each; what is older than the kept days goes over
-- to the totals. May run at any time, in any number of places.
CREATE FUNCTION join_tallies(_keep_days integer) RETURNS void LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM queue_tallies
         WHERE at < now() - make_interval(days => _keep_days)
            OR (at < date_trunc('hour', now()) - interval '1 h' AND at <> date_trunc('hour', at))
            OR (at < date_trunc('minute', now()) AND at <> date_trunc('minute', at))
        RETURNING *),
    joined AS (
        INSERT INTO queue_tallies (at, queue, task, outcome, many, ran_s, last_at)
        SELECT date_trunc(CASE WHEN at < date_trunc('hour', now()) - interval '1 h' THEN 'hour' ELSE 'minute' END, at),
               queue, task, outcome, sum(many), sum(ran_s), max(coalesce(last_at, at))
          FROM gone
         WHERE at >= now() - make_interval(days => _keep_days)
         GROUP BY 1, 2, 3, 4)
    INSERT INTO queue_totals (queue, task, outcome, many, ran_s)
    SELECT queue, task, outcome, sum(many), sum(ran_s)
      FROM gone
     WHERE at < now() - make_interval(days => _keep_days)
     GROUP BY 1, 2, 3
        ON CONFLICT (queue, task, outcome) DO UPDATE
       SET many = queue_totals.many + excluded.many, ran_s = queue_totals.ran_s + excluded.ran_s
$$;

-- The queue's statements in pieces of five minutes, for a day: each beat adds to the month, and this notes the share.
CREATE TABLE queue_operations (
    at         timestamptz PRIMARY KEY,
    operations bigint NOT NULL
);
CALL serve('queue_operations');

CREATE FUNCTION note_operations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    _piece timestamptz := date_bin('5 min', now(), 'epoch');
BEGIN
    INSERT INTO queue_operations (at, operations)
    VALUES (_piece, NEW.operations - CASE TG_OP WHEN 'UPDATE' THEN OLD.operations ELSE 0 END)
        ON CONFLICT (at) DO UPDATE SET operations = queue_operations.operations + excluded.operations;
    DELETE FROM queue_operations WHERE at < _piece - interval '1 day';
    RETURN NULL;
END $$;
CREATE TRIGGER queue_operations AFTER INSERT OR UPDATE ON queue_usage
    FOR EACH ROW EXECUTE FUNCTION note_operations();

-- Every queue that has a job at all.
CREATE FUNCTION queue_names() RETURNS text[] LANGUAGE sql STABLE
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
    WITH RECURSIVE names AS (
        (SELECT queue_name AS name FROM procrastinate_jobs ORDER BY queue_name LIMIT 1)
        UNION ALL
        SELECT (SELECT queue_name FROM procrastinate_jobs WHERE queue_name > names.name ORDER BY queue_name LIMIT 1)
          FROM names
         WHERE names.name IS NOT NULL)
    SELECT coalesce(array_agg(name::text), '{}') FROM names WHERE name IS NOT NULL
$$;

-- Since when the longest waiting job of a queue could have started: looked for among the first in line of each
-- priority and owner, a hundred or more in all; a later one has been put later.
CREATE FUNCTION oldest_ready_at(_queue text) RETURNS timestamptz LANGUAGE sql STABLE
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off
SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
    WITH RECURSIVE lines AS (
        (SELECT priority, owner, 1 AS place
           FROM procrastinate_jobs
          WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
          ORDER BY priority + 0 DESC, owner
          LIMIT 1)
        UNION ALL
        SELECT next.priority, next.owner, lines.place + 1
          FROM lines
         CROSS JOIN LATERAL (
             (SELECT priority, owner FROM procrastinate_jobs
               WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                 AND priority + 0 = lines.priority AND owner > lines.owner
               ORDER BY priority + 0 DESC, owner
               LIMIT 1)
             UNION ALL
             (SELECT priority, owner FROM procrastinate_jobs
               WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                 AND priority + 0 < lines.priority
               ORDER BY priority + 0 DESC, owner
               LIMIT 1)
             LIMIT 1) AS next
         WHERE lines.place < 200),
    heads AS MATERIALIZED (
        SELECT head.id
          FROM lines
         CROSS JOIN LATERAL (SELECT id FROM procrastinate_jobs
                              WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL
                                AND lock IS NULL AND priority + 0 = lines.priority AND owner = lines.owner
                              ORDER BY id + 0
                              LIMIT greatest(100 / (SELECT count(*) FROM lines), 1)) AS head),
    locked AS MATERIALIZED (
        SELECT id
          FROM (SELECT id, queue_name FROM procrastinate_jobs
                 WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL
                 ORDER BY lock
                 LIMIT 100) AS first
         WHERE queue_name = _queue)
    SELECT least((SELECT min(greatest(put_at, waiting_until)) FROM job_records
                   WHERE job_id = ANY (ARRAY(SELECT id FROM heads UNION ALL SELECT id FROM locked))),
                 (SELECT scheduled_at FROM procrastinate_jobs
                   WHERE queue_name || '' = _queue AND status = 'todo' AND scheduled_at IS NOT NULL
                     AND scheduled_at <= now()
                   ORDER BY scheduled_at
                   LIMIT 1))
$$;

-- How many jobs of a queue stand where, each counted up to `_most` + 1. What is due and not yet made ready counts
-- as waiting.
CREATE FUNCTION queue_depth(_queue text, _most integer)
RETURNS TABLE (waiting bigint, scheduled bigint, failed bigint, locked bigint) LANGUAGE plpgsql STABLE
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    waiting := (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                       WHERE queue_name = _queue AND status = 'todo' AND scheduled_at IS NULL
                                         AND lock IS NULL
                                       ORDER BY priority + 0 DESC
                                       LIMIT _most + 1) AS counted)
             + (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                       WHERE queue_name || '' = _queue AND status = 'todo'
                                         AND scheduled_at IS NOT NULL AND scheduled_at <= now()
                                       LIMIT _most + 1) AS counted);
    locked := (SELECT count(*) FROM (SELECT queue_name FROM procrastinate_jobs
                                      WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL
                                      ORDER BY lock
                                      LIMIT _most + 1) AS counted);
    -- With more than that under locks, of all queues together, what is counted of this one is a lower bound.
    waiting := least(_most + 1, waiting + CASE
        WHEN locked = 0 THEN 0
        ELSE (SELECT CASE WHEN locked > _most AND count(*) > 0 THEN _most + 1 ELSE count(*) END
                FROM (SELECT queue_name FROM procrastinate_jobs
                       WHERE status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL
                       ORDER BY lock
                       LIMIT _most + 1) AS counted
               WHERE queue_name = _queue) END);
    scheduled := (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                         WHERE queue_name || '' = _queue AND status = 'todo'
                                           AND scheduled_at IS NOT NULL AND scheduled_at > now()
                                         LIMIT _most + 1) AS counted);
    failed := (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                      WHERE queue_name || '' = _queue AND status = 'failed'
                                      LIMIT _most + 1) AS counted);
    RETURN NEXT;
END $$;

-- The state of queues, these first and in this order: what stands where, who works, what went wrong last.
CREATE FUNCTION queue_states(_names text[], _most integer)
RETURNS TABLE (name text, waiting bigint, scheduled bigint, running bigint, failed bigint, stalled bigint,
               oldest_wait_s double precision, workers bigint, paused boolean, pause_reason text,
               failed_lately bigint, last_error text)
LANGUAGE plpgsql STABLE
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_incremental_sort = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    FOR name IN
        SELECT given.name
          FROM unnest(_names || ARRAY(SELECT other FROM unnest(queue_names()) AS other WHERE other <> ALL (_names)))
               WITH ORDINALITY AS given (name, place)
    LOOP
        SELECT depth.waiting, depth.scheduled, depth.failed INTO waiting, scheduled, failed
          FROM queue_depth(name, _most) AS depth;
        SELECT count(*), count(*) FILTER (WHERE leases.worker_id IS NULL AND known.id IS NULL)
          INTO running, stalled
          FROM procrastinate_jobs AS jobs
          LEFT JOIN worker_leases AS leases
                 ON leases.worker_id = jobs.worker_id AND leases.seen_at > now() - interval '30 s'
          LEFT JOIN procrastinate_workers AS known
                 ON known.id = jobs.worker_id AND known.last_heartbeat > now() - interval '30 s'
         WHERE jobs.queue_name || '' = queue_states.name AND jobs.status = 'doing';
        oldest_wait_s := CASE WHEN waiting > 0
                              THEN greatest(extract(epoch FROM now() - oldest_ready_at(name)), 0)::float8 END;
        workers := living_workers(name);
        SELECT true, pauses.reason INTO paused, pause_reason
          FROM pauses
         WHERE pauses.queue = queue_states.name AND pauses.kind = 'queue';
        paused := coalesce(paused, false);
        SELECT count(DISTINCT job_id) INTO failed_lately
          FROM (SELECT job_id, outcome FROM attempts
                 WHERE attempts.queue = queue_states.name AND outcome NOT IN ('done', 'waiting')
                   AND ended_at > now() - interval '1 h'
                 ORDER BY ended_at DESC
                 LIMIT _most + 1) AS lately
         WHERE outcome IN ('gave_up', 'unsure');
        last_error := (SELECT reason FROM attempts
                        WHERE attempts.queue = queue_states.name AND outcome NOT IN ('done', 'waiting')
                          AND outcome IN ('failed', 'gave_up', 'unsure', 'lost')
                          AND ended_at > now() - interval '1 day'
                        ORDER BY ended_at DESC
                        LIMIT 1);
        RETURN NEXT;
    END LOOP;
END $$;

-- What makes a job of a queue ($1) stand in a stage, in words that one index alone can answer.
CREATE FUNCTION stage_rules(_stage text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE _stage
           WHEN 'waiting' THEN ARRAY[
                $q$queue_name = $1 AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
                   ORDER BY priority + 0 DESC$q$,
                $q$queue_name || '' = $1 AND status = 'todo' AND scheduled_at IS NOT NULL AND scheduled_at <= now()$q$,
                $q$queue_name = $1 AND status = 'todo' AND scheduled_at IS NULL AND lock IS NOT NULL AND lock >= ''$q$]
           WHEN 'scheduled' THEN ARRAY[
                $q$queue_name || '' = $1 AND status = 'todo' AND scheduled_at IS NOT NULL AND scheduled_at > now()$q$]
           WHEN 'running' THEN ARRAY[$q$queue_name || '' = $1 AND status = 'doing'$q$]
           WHEN 'failed' THEN ARRAY[$q$queue_name || '' = $1 AND status = 'failed'$q$]
           WHEN 'cancelled' THEN ARRAY[$q$queue_name || '' = $1 AND status IN ('cancelled', 'aborted')$q$]
           ELSE ARRAY[$q$queue_name = $1 AND status::text = 'succeeded'$q$] END
$$;

-- How many jobs stand in each of these stages, of one queue or all, each counted up to `_most` + 1. By task or
-- workspace at most `_look` of a queue are looked at; `more`: there may be more than was counted.
CREATE FUNCTION count_stages(
    _stages text[], _queue text, _task text, _workspace_id bigint, _most integer, _look integer
) RETURNS TABLE (stage text, many bigint, more boolean) LANGUAGE plpgsql STABLE
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    _names text[] := CASE WHEN _queue IS NULL THEN queue_names() ELSE ARRAY[_queue] END;
    _name text;
    _rule text;
    _seen bigint;
    _found bigint;
BEGIN
    FOREACH stage IN ARRAY _stages LOOP
        many := 0;
        more := false;
        <<names>>
        FOREACH _name IN ARRAY _names LOOP
            FOREACH _rule IN ARRAY stage_rules(stage) LOOP
                IF _task IS NULL AND _workspace_id IS NULL THEN
                    EXECUTE format('SELECT count(*) FROM (SELECT FROM procrastinate_jobs WHERE %s LIMIT $2) AS looked',
                                   _rule)
                       INTO _found USING _name, _most + 1 - many;
                ELSE
                    EXECUTE format(
                        'SELECT count(*), count(*) FILTER (WHERE ($3 IS NULL OR task_name = $3)
                                AND ($4 IS NULL OR owner = $4 OR (owner = 0 AND EXISTS (
                                    SELECT FROM job_records WHERE job_id = id AND workspace_id = $4))))
                           FROM (SELECT id, task_name, owner FROM procrastinate_jobs WHERE %s LIMIT $2) AS looked',
                        _rule)
                       INTO _seen, _found USING _name, _look, _task, _workspace_id;
                    more := more OR _seen >= _look;
                END IF;
                many := many + _found;
                EXIT names WHEN many > _most;
            END LOOP;
        END LOOP;
        more := more OR many > _most;
        many := least(many, _most + 1);
        RETURN NEXT;
    END LOOP;
END $$;

-- Exactly what waits, runs and is kept as failed, by task: for the metrics. It costs as much as there is of that,
-- and nothing for what was done.
CREATE FUNCTION jobs_by_task()
RETURNS TABLE (queue text, task text, queued bigint, scheduled bigint, running bigint, failed bigint)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT queue, task, sum(queued)::bigint, sum(scheduled)::bigint, sum(running)::bigint, sum(failed)::bigint
      FROM (SELECT queue_name AS queue, task_name AS task,
                   count(*) FILTER (WHERE status = 'todo'
                                      AND (scheduled_at IS NULL OR scheduled_at <= now())) AS queued,
                   count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()) AS scheduled,
                   count(*) FILTER (WHERE status = 'doing') AS running, 0 AS failed
              FROM procrastinate_jobs
             WHERE status IN ('todo', 'doing')
             GROUP BY queue_name, task_name
             UNION ALL
            SELECT queue_name, task_name, 0, 0, 0, count(*)
              FROM procrastinate_jobs
             WHERE status = 'failed'
             GROUP BY queue_name, task_name) AS parts
     GROUP BY queue, task
$$;

-- The limits in force, how much of each is used, and when the next start is allowed where none is now.
CREATE FUNCTION limit_states(_queues text[] DEFAULT NULL)
RETURNS TABLE (queue text, together integer, starts integer, window_s double precision, each integer, fair integer,
               set_by bigint, set_at timestamptz, running bigint, started bigint, next_start_at timestamptz)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    SELECT rules.queue, rules.together, rules.starts, rules.window_s, rules.each, rules.fair, rules.set_by,
           rules.set_at, running.many, coalesce(granted.many, 0),
           CASE WHEN granted.many >= rules.starts THEN granted.first_at + make_interval(secs => rules.window_s) END
      FROM queue_limits AS rules
     CROSS JOIN LATERAL (SELECT count(*) AS many FROM procrastinate_jobs AS jobs
                          WHERE jobs.queue_name || '' = rules.queue AND jobs.status = 'doing') AS running
      LEFT JOIN LATERAL (SELECT count(*) AS many, min(at) AS first_at
                           FROM (SELECT at FROM limit_grants
                                  WHERE key = 'queue-' || rules.queue AND started
                                    AND at > clock_timestamp() - make_interval(secs => rules.window_s)
                                  ORDER BY at DESC
                                  LIMIT rules.starts) AS last) AS granted ON rules.starts IS NOT NULL
     WHERE _queues IS NULL OR rules.queue = ANY (_queues)
$$;

-- How many jobs may come before a ready one, counted up to a thousand: all of a higher priority; of the own line those
-- before it; of every other owner's line at most one more than that, because places go round.
CREATE OR REPLACE FUNCTION jobs_ahead(_job_id bigint) RETURNS bigint LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = public, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    _mine procrastinate_jobs;
    _own bigint;
    _many bigint;
    _owner bigint := -9223372036854775808;
BEGIN
    SELECT * INTO _mine FROM procrastinate_jobs WHERE id = _job_id AND status::text = 'todo';
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    _many := (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                     WHERE queue_name = _mine.queue_name AND status = 'todo'
                                       AND scheduled_at IS NULL AND lock IS NULL AND priority + 0 > _mine.priority
                                     ORDER BY priority + 0 DESC
                                     LIMIT 1000) AS higher);
    _own := (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                    WHERE queue_name = _mine.queue_name AND status = 'todo'
                                      AND scheduled_at IS NULL AND lock IS NULL AND priority + 0 = _mine.priority
                                      AND owner = _mine.owner AND id + 0 < _mine.id
                                    ORDER BY id + 0
                                    LIMIT 1000) AS own);
    _many := _many + _own;
    WHILE _many < 1000 LOOP
        SELECT owner INTO _owner
          FROM procrastinate_jobs
         WHERE queue_name = _mine.queue_name AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
           AND priority + 0 = _mine.priority AND owner > _owner
         ORDER BY priority + 0 DESC, owner
         LIMIT 1;
        EXIT WHEN NOT FOUND;
        CONTINUE WHEN _owner = _mine.owner;
        _many := _many + (SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                                                 WHERE queue_name = _mine.queue_name AND status = 'todo'
                                                   AND scheduled_at IS NULL AND lock IS NULL
                                                   AND priority + 0 = _mine.priority AND owner = _owner
                                                 ORDER BY id + 0
                                                 LIMIT _own + 1) AS others);
    END LOOP;
    RETURN least(_many, 1000);
END $$;

-- Why an own job waits, from the rows by which jobs are taken. No row: it does not wait, or is somebody else's.
CREATE FUNCTION why_waiting(_job_id bigint)
RETURNS TABLE (queue text, task text, scheduled_at timestamptz, waiting_for text, paused_kind text,
               pause_reason text, workers bigint, together integer, starts integer, window_s double precision,
               each integer, running bigint, own_running bigint, next_start_at timestamptz, lock_held boolean,
               ahead bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    _job procrastinate_jobs;
BEGIN
    SELECT records.waiting_for INTO waiting_for
      FROM job_records AS records
     WHERE records.job_id = _job_id AND (records.workspace_id = app_workspace() OR in_house());
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO _job FROM procrastinate_jobs WHERE id = _job_id AND status::text = 'todo';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    queue := _job.queue_name;
    task := _job.task_name;
    scheduled_at := CASE WHEN _job.scheduled_at > now() THEN _job.scheduled_at END;
    SELECT pauses.kind, pauses.reason INTO paused_kind, pause_reason
      FROM pauses
     WHERE (pauses.kind = 'queue' AND pauses.queue = _job.queue_name)
        OR (pauses.kind = 'task' AND pauses.queue = _job.task_name)
     ORDER BY pauses.kind
     LIMIT 1;
    workers := living_workers(_job.queue_name);
    SELECT limits.together, limits.starts, limits.window_s, limits.each, limits.running, limits.next_start_at
      INTO together, starts, window_s, each, running, next_start_at
      FROM limit_states(ARRAY[_job.queue_name::text]) AS limits;
    own_running := (SELECT count(*) FROM procrastinate_jobs AS jobs
                     WHERE jobs.queue_name || '' = _job.queue_name AND jobs.status = 'doing'
                       AND jobs.owner = _job.owner);
    lock_held := _job.lock IS NOT NULL AND EXISTS (SELECT FROM procrastinate_jobs AS jobs
                                                    WHERE jobs.lock = _job.lock AND jobs.status = 'doing');
    ahead := jobs_ahead(_job_id);
    RETURN NEXT;
END $$;
