-- Roles, row rules, fencing numbers and state machines: what every later table leans on.

-- Two roles that own nothing. Pages and the API act as backlot_page (row rules apply); tasks, sign-in and the
-- admin pages act as backlot_house (row rules do not apply). A provider that lets nobody create roles gets
-- neither: then the one role it gives is held by FORCE ROW LEVEL SECURITY and the setting app.house.
DO $$
BEGIN
    CREATE ROLE backlot_page NOSUPERUSER NOCREATEDB NOCREATEROLE LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$;

DO $$
BEGIN
    CREATE ROLE backlot_house NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$;

DO $$
BEGIN
    EXECUTE format('GRANT backlot_page TO %I', current_user);
EXCEPTION WHEN undefined_object OR insufficient_privilege OR invalid_grant_operation THEN NULL;
END $$;

DO $$
BEGIN
    EXECUTE format('GRANT backlot_house TO %I', current_user);
EXCEPTION WHEN undefined_object OR insufficient_privilege OR invalid_grant_operation THEN NULL;
END $$;

CREATE FUNCTION app_workspace() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.workspace_id', true), '')::bigint;

-- The setting alone lifts nothing for the page role: whoever speaks as backlot_page is never in the house.
CREATE FUNCTION in_house() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('app.house', true), '') = 'on'
   AND current_setting('role') <> 'backlot_page'
   AND session_user <> 'backlot_page';

-- Gives a table its owner rule. Called once for each table that carries a workspace_id.
CREATE PROCEDURE protect(owned regclass, allow text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', owned);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', owned);
    EXECUTE format('CREATE POLICY owner ON %s USING (workspace_id = app_workspace())', owned);
    -- Only the migrating role may lift the rule by a setting; the page role cannot, whatever it sets.
    EXECUTE format('CREATE POLICY house ON %s TO %I USING (in_house())', owned, current_user);
    CALL serve(owned, allow);
END $$;

-- Grants the house role everything on a table, and the page role what is named (nothing for an empty text).
CREATE PROCEDURE serve(served regclass, allow text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
    numbers text;
BEGIN
    FOR numbers IN
        SELECT pg_get_serial_sequence(served::text, attname)
          FROM pg_attribute
         WHERE attrelid = served AND attnum > 0 AND NOT attisdropped
           AND pg_get_serial_sequence(served::text, attname) IS NOT NULL
    LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_page') AND allow <> '' THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO backlot_page', numbers);
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
            EXECUTE format('GRANT USAGE, SELECT, UPDATE ON SEQUENCE %s TO backlot_house', numbers);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_page') AND allow <> '' THEN
        EXECUTE format('GRANT %s ON %s TO backlot_page', allow, served);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO backlot_house', served);
    END IF;
END $$;

-- Fencing numbers: a later run of the same work always holds a larger one.
CREATE SEQUENCE runs;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
        GRANT USAGE, SELECT ON SEQUENCE runs TO backlot_house;
    END IF;
END $$;

-- The moves each machine allows. An empty from_state is birth.
CREATE TABLE allowed_moves (
    machine    text NOT NULL,
    from_state text NOT NULL,
    to_state   text NOT NULL,
    PRIMARY KEY (machine, from_state, to_state)
);
CALL serve('allowed_moves', 'SELECT');

CREATE FUNCTION check_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before text := CASE WHEN TG_OP = 'INSERT' THEN '' ELSE OLD.state END;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM allowed_moves
                    WHERE machine = TG_ARGV[0] AND from_state = before AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'a % may not go from "%" to "%"', TG_ARGV[0], before, NEW.state
              USING ERRCODE = 'check_violation', CONSTRAINT = 'allowed_moves';
    END IF;
    RETURN NEW;
END $$;
