-- Exact to the row: what waits long gains a step, and a pause ends for everybody who waits for it.

-- Low jobs by how long they stand in line; only these pay for it.
CREATE INDEX house_low_idx ON procrastinate_jobs ((priority + 0), (id + 0))
       WHERE status = 'todo' AND scheduled_at IS NULL AND priority < -5;

-- Low jobs (8 on the product's scale, -8 on the engine's) gain a step for each ten minutes in line, up to normal (-5).
-- Looks at `_most` of each step, those in line first before the others; gives how many gained.
CREATE FUNCTION age_low(_most integer DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    _step integer;
    _moved bigint;
    _many bigint := 0;
BEGIN
    -- From the upper steps down, so that nothing is looked at twice.
    FOREACH _step IN ARRAY ARRAY[-6, -7, -8] LOOP
        UPDATE procrastinate_jobs AS jobs
           SET priority = least(-5, -8 + old.steps)
          FROM (SELECT line.id,
                       floor(extract(epoch FROM now() - greatest(records.put_at, records.waiting_until)) / 600)::integer
                           AS steps
                  FROM (SELECT low.id FROM procrastinate_jobs AS low
                         WHERE low.status = 'todo' AND low.scheduled_at IS NULL AND low.priority < -5
                           AND low.priority + 0 = _step
                         ORDER BY low.id + 0
                         LIMIT _most
                           FOR UPDATE SKIP LOCKED) AS line
                  JOIN job_records AS records ON records.job_id = line.id) AS old
         WHERE jobs.id = old.id AND -8 + old.steps > _step;
        GET DIAGNOSTICS _moved = ROW_COUNT;
        _many := _many + _moved;
    END LOOP;
    RETURN _many;
END $$;

-- What is paused as people call it (TikTok), and the sentence that those who wait for it read.
ALTER TABLE pauses ADD COLUMN label text NOT NULL DEFAULT '', ADD COLUMN sentence text NOT NULL DEFAULT '';

-- The jobs that wait for a pause, by that sentence.
CREATE INDEX job_records_paused_idx ON job_records (waiting_for) WHERE waiting_for LIKE 'An operator has paused %';

-- Brings forward every job that was told this sentence, and wakes its queue; gives how many.
CREATE FUNCTION bring_forward(_sentence text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _jobs bigint[];
    _queues text[];
BEGIN
    WITH told AS (
        UPDATE job_records
           SET waiting_for = NULL, waiting_until = NULL
         WHERE waiting_for LIKE 'An operator has paused %' AND waiting_for = _sentence
        RETURNING job_id),
    ready AS (
        UPDATE procrastinate_jobs AS jobs
           SET scheduled_at = NULL
          FROM told
         WHERE jobs.id = told.job_id AND jobs.status = 'todo'
        RETURNING jobs.id, jobs.queue_name)
    SELECT array_agg(id), array_agg(DISTINCT queue_name::text) INTO _jobs, _queues FROM ready;
    PERFORM wake_queue(queue, 0) FROM unnest(_queues) AS queue;
    RETURN coalesce(cardinality(_jobs), 0);
END $$;

-- A job that is put off for a pause holds that pause until this is written; one whose pause has ended meanwhile does
-- not wait at all. So whoever ends a pause sees every job that waits for it.
CREATE FUNCTION hold_pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM pauses WHERE sentence = NEW.waiting_for FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM bring_forward(NEW.waiting_for);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_pause AFTER UPDATE OF waiting_for ON job_records
    FOR EACH ROW WHEN (NEW.waiting_for LIKE 'An operator has paused %') EXECUTE FUNCTION hold_pause();
