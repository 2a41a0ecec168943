-- The end of a session, enforced by the database itself (docs/spec/chain.md, section 8). Run as indelible_owner.
--
-- 1. item_steps repeats every event of a session chain that begins or ends the making of a recording or clip. An item is
--    pending while the newest of its steps begins it.
-- 2. session_ends repeats every session.ended, and whether its chain has been closed since.
-- 3. guard_sessions keeps both, and refuses what may not follow session.ended, and a closing that hides what is pending.
--
-- Rows of both tables are compared with the events they repeat, whoever writes them, and never go away. So nobody can make
-- something pending, or not pending, but by an event that everybody sees.

CREATE TABLE indelible.item_steps (
    chain_key bigint NOT NULL,
    sequence bigint NOT NULL,
    begins boolean NOT NULL,
    organisation_id text NOT NULL,
    type text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    CONSTRAINT item_steps_pkey PRIMARY KEY (chain_key, type, item_id, sequence)
);

-- Times in microseconds since 1970, as in events.
CREATE TABLE indelible.session_ends (
    chain_key bigint NOT NULL,
    sequence bigint NOT NULL,
    ended_at bigint NOT NULL,
    closes_by bigint NOT NULL,
    closed boolean NOT NULL DEFAULT false,
    organisation_id text NOT NULL,
    CONSTRAINT session_ends_pkey PRIMARY KEY (chain_key)
);
CREATE INDEX session_ends_open ON indelible.session_ends (closes_by) WHERE NOT closed;

-- What chains held before there was this table. The owner is under row-level security and would see nothing of it.
ALTER TABLE indelible.events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE indelible.chains NO FORCE ROW LEVEL SECURITY;
INSERT INTO indelible.item_steps (chain_key, sequence, begins, organisation_id, type, item_id)
SELECT step.chain_key, step.sequence, step.begins, step.organisation_id, step.type, step.stated #>> '{}'
  FROM (SELECT event.chain_key, event.sequence, event.organisation_id,
               event.kind IN ('recording.started', 'clip.requested') AS begins,
               split_part(event.kind, '.', 1) AS type,
               event.payload::jsonb -> (split_part(event.kind, '.', 1) || '_id') AS stated
          FROM indelible.events AS event
         WHERE event.kind IN ('recording.started', 'recording.completed', 'recording.failed',
                              'clip.requested', 'clip.preserved', 'clip.failed')
        OFFSET 0) AS step
  JOIN indelible.chains AS chain USING (chain_key)
 WHERE chain.type = 'session' AND jsonb_typeof(step.stated) = 'string'
   AND step.stated #>> '{}' ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$';
ALTER TABLE indelible.events FORCE ROW LEVEL SECURITY;
ALTER TABLE indelible.chains FORCE ROW LEVEL SECURITY;

-- Most statements hold nothing but ordinary events of sessions that go on: for them it is one look at the kinds and one
-- at the chains. Conditions and the planner settings are as in guard_events, which has checked all rows before.
CREATE FUNCTION indelible.guard_sessions() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $function$
DECLARE
    fault text;
BEGIN
    IF NOT EXISTS (
            SELECT FROM inserted AS event
             WHERE event.kind LIKE 'recording.%' OR event.kind LIKE 'clip.%'
                OR event.kind IN ('session.ended', 'chain.closed'))
        AND NOT EXISTS (
            SELECT FROM (SELECT DISTINCT event.chain_key FROM inserted AS event) AS touched
              JOIN indelible.session_ends AS ended USING (chain_key))
    THEN
        RETURN NULL;
    END IF;

    INSERT INTO indelible.item_steps (chain_key, sequence, begins, organisation_id, type, item_id)
    SELECT step.chain_key, step.sequence, step.begins, step.organisation_id, step.type, step.stated #>> '{}'
      FROM (SELECT event.chain_key, event.sequence, event.organisation_id,
                   event.kind IN ('recording.started', 'clip.requested') AS begins,
                   split_part(event.kind, '.', 1) AS type,
                   event.payload::jsonb -> (split_part(event.kind, '.', 1) || '_id') AS stated
              FROM inserted AS event
             WHERE event.kind IN ('recording.started', 'recording.completed', 'recording.failed',
                                  'clip.requested', 'clip.preserved', 'clip.failed')
            OFFSET 0) AS step
      JOIN indelible.chains AS chain USING (chain_key)
     WHERE chain.type = 'session' AND jsonb_typeof(step.stated) = 'string'
       AND step.stated #>> '{}' ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$';

    SELECT min(format('event %s of chain %s is refused: it does not end a session, say what is pending and set a deadline'
                      ' of a minute to a week', event.sequence, event.chain_key))
      INTO fault
      FROM inserted AS event
      JOIN indelible.chains AS chain USING (chain_key)
     WHERE event.kind = 'session.ended' AND NOT coalesce(CASE
        WHEN event.payload::jsonb ->> 'closes_by' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$' THEN
            chain.type = 'session'
            AND event.payload::jsonb ->> 'format' = 'indelible-session-end/1'
            AND coalesce(jsonb_typeof(event.payload::jsonb -> 'ending'), 'object') = 'object'
            AND extract(epoch FROM (event.payload::jsonb ->> 'closes_by')::timestamptz) * 1000000 - event.occurred_at
                BETWEEN 60000000 AND 604800000000
            AND event.payload::jsonb -> 'pending' = (
                SELECT coalesce(jsonb_agg(jsonb_build_object('item_id', item.item_id, 'since_sequence', item.sequence,
                                                             'type', item.type)
                                          ORDER BY item.type, item.item_id), '[]')
                  FROM (SELECT DISTINCT ON (step.type, step.item_id) step.type, step.item_id, step.sequence, step.begins
                          FROM indelible.item_steps AS step
                         WHERE step.chain_key = event.chain_key AND step.sequence < event.sequence
                         ORDER BY step.type, step.item_id, step.sequence DESC) AS item
                 WHERE item.begins)
        END, false);
    IF fault IS NULL THEN
        INSERT INTO indelible.session_ends (chain_key, sequence, ended_at, closes_by, organisation_id)
        SELECT event.chain_key, event.sequence, event.occurred_at,
               extract(epoch FROM (event.payload::jsonb ->> 'closes_by')::timestamptz) * 1000000, event.organisation_id
          FROM inserted AS event
         WHERE event.kind = 'session.ended'
            ON CONFLICT DO NOTHING;  -- a second one follows the first, and is refused for that

        SELECT min(format('event %s of chain %s is refused: its session has ended, and it tells of nothing that is pending',
                          event.sequence, event.chain_key))
          INTO fault
          FROM inserted AS event
          JOIN indelible.session_ends AS ended USING (chain_key)
         WHERE event.sequence > ended.sequence
           AND event.kind NOT IN ('chain.checkpointed', 'chain.closed')
           AND NOT coalesce(CASE
            WHEN event.kind LIKE 'recording.%' OR event.kind LIKE 'clip.%' THEN (
                SELECT step.begins
                  FROM indelible.item_steps AS step
                 WHERE step.chain_key = event.chain_key AND step.sequence < event.sequence
                   AND step.type = split_part(event.kind, '.', 1)
                   AND to_jsonb(step.item_id) = event.payload::jsonb -> (split_part(event.kind, '.', 1) || '_id')
                 ORDER BY step.sequence DESC
                 LIMIT 1)
            END, false);
    END IF;
    IF fault IS NULL THEN
        SELECT min(format('event %s of chain %s is refused: a closing names what is unfinished, and waits for it until the'
                          ' deadline of session.ended', event.sequence, event.chain_key))
          INTO fault
          FROM inserted AS event
          LEFT JOIN indelible.session_ends AS ended USING (chain_key)
         CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg(jsonb_build_object('item_id', item.item_id, 'since_sequence', item.sequence,
                                                         'type', item.type)
                                      ORDER BY item.type, item.item_id), '[]') AS items
              FROM (SELECT DISTINCT ON (step.type, step.item_id) step.type, step.item_id, step.sequence, step.begins
                      FROM indelible.item_steps AS step
                     WHERE step.chain_key = event.chain_key AND step.sequence < event.sequence
                     ORDER BY step.type, step.item_id, step.sequence DESC) AS item
             WHERE item.begins) AS unfinished
         WHERE event.kind = 'chain.closed' AND NOT coalesce(CASE
            WHEN ended.chain_key IS NULL THEN unfinished.items = '[]'
            ELSE event.payload::jsonb -> 'unfinished' = unfinished.items
                 AND (unfinished.items = '[]' OR event.occurred_at >= ended.closes_by)
            END, false);
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = fault;
    END IF;

    UPDATE indelible.session_ends AS ended
       SET closed = true
      FROM inserted AS event
     WHERE event.kind = 'chain.closed' AND ended.chain_key = event.chain_key;
    RETURN NULL;
END
$function$;

CREATE FUNCTION indelible.guard_steps() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM indelible.events AS event
          JOIN indelible.chains AS chain USING (chain_key)
         WHERE event.chain_key = NEW.chain_key AND event.sequence = NEW.sequence
           AND event.organisation_id = NEW.organisation_id
           AND chain.type = 'session'
           AND CASE WHEN NEW.begins THEN event.kind IN ('recording.started', 'clip.requested')
                    ELSE event.kind IN ('recording.completed', 'recording.failed', 'clip.preserved', 'clip.failed') END
           AND split_part(event.kind, '.', 1) = NEW.type
           AND event.payload::jsonb -> (NEW.type || '_id') = to_jsonb(NEW.item_id))
        OR NEW.item_id !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a row of indelible.item_steps is refused: no event of its chain says so';
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION indelible.guard_session_ends() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NOT (CASE TG_OP
        WHEN 'INSERT' THEN NOT NEW.closed AND EXISTS (
            SELECT FROM indelible.events AS event
             WHERE event.chain_key = NEW.chain_key AND event.sequence = NEW.sequence
               AND event.organisation_id = NEW.organisation_id
               AND event.kind = 'session.ended' AND event.occurred_at = NEW.ended_at
               AND event.payload::jsonb ->> 'format' = 'indelible-session-end/1'
               AND extract(epoch FROM (event.payload::jsonb ->> 'closes_by')::timestamptz) * 1000000 = NEW.closes_by)
        ELSE (NEW.chain_key, NEW.sequence, NEW.ended_at, NEW.closes_by, NEW.organisation_id, NEW.closed)
             = (OLD.chain_key, OLD.sequence, OLD.ended_at, OLD.closes_by, OLD.organisation_id, NOT OLD.closed)
             AND NEW.closed AND EXISTS (
            SELECT FROM indelible.events AS event
             WHERE event.chain_key = NEW.chain_key AND event.kind = 'chain.closed')
        END)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a row of indelible.session_ends is refused: no event of its chain says so';
    END IF;
    RETURN NEW;
END
$function$;

REVOKE ALL ON FUNCTION indelible.guard_sessions(), indelible.guard_steps(), indelible.guard_session_ends()
    FROM PUBLIC;

-- After guard_events, before queue_events: triggers of the same moment fire in order of name.
CREATE TRIGGER guard_sessions AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION indelible.guard_sessions();
ALTER TABLE indelible.events ENABLE ALWAYS TRIGGER guard_sessions;

CREATE TRIGGER guard_steps BEFORE INSERT ON indelible.item_steps
    FOR EACH ROW EXECUTE FUNCTION indelible.guard_steps();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON indelible.item_steps
    FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change();
CREATE TRIGGER refuse_change_of_row BEFORE UPDATE OR DELETE ON indelible.item_steps
    FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change();
ALTER TABLE indelible.item_steps ENABLE ALWAYS TRIGGER guard_steps;

CREATE TRIGGER guard_session_ends BEFORE INSERT OR UPDATE ON indelible.session_ends
    FOR EACH ROW EXECUTE FUNCTION indelible.guard_session_ends();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON indelible.session_ends
    FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change();
CREATE TRIGGER refuse_change_of_row BEFORE DELETE ON indelible.session_ends
    FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change();
ALTER TABLE indelible.session_ends ENABLE ALWAYS TRIGGER guard_session_ends;

DO $access$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['item_steps', 'session_ends']
    LOOP
        EXECUTE format('CREATE TRIGGER guard_organisation BEFORE INSERT ON indelible.%I
                            FOR EACH ROW EXECUTE FUNCTION indelible.guard_organisation()', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER guard_organisation', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER refuse_change', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER refuse_change_of_row', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON indelible.%I
                            USING (organisation_id = (SELECT current_setting(''indelible.organisation'', true)))', name);
        EXECUTE format('GRANT SELECT ON indelible.%I TO indelible_runtime, indelible_append, indelible_worker', name);
        EXECUTE format('GRANT INSERT ON indelible.%I TO indelible_append', name);
    END LOOP;
END
$access$;

GRANT UPDATE (closed) ON indelible.session_ends TO indelible_append;
