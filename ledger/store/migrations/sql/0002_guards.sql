-- What the database refuses by itself, whoever asks. Run as indelible_owner.
--
-- 1. Rows of the record are never changed or removed: refuse_change, by statement, by row and for TRUNCATE.
-- 2. Every inserted event extends its chain: guard_events. A rogue INSERT cannot fork a chain, or change or hide what is
--    on it; it can only add to its end. What it adds may spoil the chain from there on, since SQL cannot tell canonical
--    JSON from other JSON, does not recompute Merkle roots, and does not know the ledger's clock.
-- 3. Rows go to the organisation that the transaction named: guard_events and guard_organisation.
-- 4. Every committed event is queued for publication: queue_events. Nobody can append in silence.
--
-- All triggers are ENABLE ALWAYS: an ordinary trigger does not fire under session_replication_role = replica.
-- The service compares these triggers and the functions' text with this file before it serves (ledger/store/guards.py),
-- because the owner of a table can still disable a trigger.

CREATE FUNCTION indelible.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = format('%s.%s is append-only: %s is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP);
END
$function$;

-- A first query over all inserted rows, and a second one when there are events of the ledger's own among them. A row
-- that continues the row inserted before it needs no look-up: that row is in the table, and (chain_key, sequence) is
-- unique. Any other row is looked up, in CASE branches that are only evaluated for it. The planner settings keep those
-- look-ups on the indexes even if the plan was made while the table was empty.
CREATE FUNCTION indelible.guard_events() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $function$
DECLARE
    tenant CONSTANT text := current_setting('indelible.organisation', true);
    fault text;
    has_own_events boolean;
BEGIN
    SELECT min(format('event %s of chain %s is refused: %s', checked.sequence, checked.chain_key, checked.problem))
               FILTER (WHERE checked.problem <> 'linked'),
           bool_or(checked.is_own)
      INTO fault, has_own_events
      FROM (
        SELECT event.chain_key, event.sequence, event.is_own, CASE
            WHEN event.organisation_id IS DISTINCT FROM tenant
                THEN 'its organisation is not the one this transaction is for'
            -- docs/spec/chain.md, section 3
            WHEN event.hash <> sha256(
                    int8send(event.sequence) || event.prev_hash
                    || int4send(octet_length(event.kind)) || convert_to(event.kind, 'UTF8')
                    || int4send(octet_length(event.payload)) || convert_to(event.payload, 'UTF8')
                    || int8send(event.occurred_at))
                THEN 'its hash is not that of its content'
            WHEN event.kind !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' OR length(event.kind) > 64
                THEN 'its kind is malformed'
            WHEN event.occurred_at NOT BETWEEN -62135596800000000 AND 253402300799999999
                THEN 'its time is not in the years 1 to 9999'
            WHEN event.payload IS NOT JSON OBJECT OR octet_length(event.payload) > 262144
                THEN 'its payload is not a JSON object of at most 256 KiB'
            WHEN event.follows THEN 'linked'
            WHEN (SELECT chain.organisation_id FROM indelible.chains AS chain WHERE chain.chain_key = event.chain_key)
                    IS DISTINCT FROM event.organisation_id
                THEN 'its organisation has no such chain'
            WHEN event.sequence = 1 THEN 'linked'  -- to nothing; the second query looks at it
            ELSE coalesce((
                SELECT CASE
                    WHEN before.hash <> event.prev_hash THEN 'its prev_hash is not the hash of the event before it'
                    WHEN before.kind = 'chain.closed' THEN 'its chain is closed'
                    WHEN before.occurred_at > event.occurred_at THEN 'it is older than the event before it'
                    ELSE 'linked' END
                  FROM indelible.events AS before
                 WHERE before.chain_key = event.chain_key AND before.sequence = event.sequence - 1),
                'there is no event before it')
            END AS problem
          FROM (
            SELECT inserted.chain_key, inserted.sequence, inserted.occurred_at, inserted.prev_hash, inserted.hash,
                   inserted.organisation_id, inserted.kind, inserted.payload,
                   inserted.sequence = 1 OR inserted.kind LIKE 'chain.%' AS is_own,
                   coalesce(lag(inserted.hash) OVER () = inserted.prev_hash
                            AND lag(inserted.sequence) OVER () = inserted.sequence - 1
                            AND lag(inserted.chain_key) OVER () = inserted.chain_key
                            AND lag(inserted.occurred_at) OVER () <= inserted.occurred_at
                            AND lag(inserted.kind) OVER () <> 'chain.closed', false) AS follows
              FROM inserted) AS event) AS checked;

    -- docs/spec/chain.md, section 4
    IF fault IS NULL AND has_own_events THEN
        SELECT min(format('event %s of chain %s is refused: %s', event.sequence, event.chain_key,
                          CASE WHEN event.sequence = 1
                               THEN 'a first event opens its chain and names it as the table of chains does'
                               ELSE 'kinds under "chain." are for checkpoints and the closing of a session, over all'
                                    ' events before' END))
          INTO fault
          FROM inserted AS event
          JOIN indelible.chains AS chain USING (chain_key)
          JOIN indelible.organisations AS organisation ON organisation.organisation_id = chain.organisation_id
         WHERE (event.sequence = 1 OR event.kind LIKE 'chain.%') AND NOT coalesce(CASE
            WHEN event.sequence = 1 THEN
                event.prev_hash = decode(repeat('00', 32), 'hex')
                AND event.kind = 'chain.opened'
                AND event.payload::jsonb = jsonb_build_object(
                    'chain_id', chain.chain_id, 'chain_type', chain.type, 'format', 'indelible-chain/1',
                    'organisation', jsonb_build_object('id', chain.organisation_id, 'name', organisation.name),
                    'subject', chain.subject::jsonb)
            ELSE
                (event.kind = 'chain.checkpointed' OR event.kind = 'chain.closed' AND chain.type = 'session')
                AND event.payload::jsonb -> 'tree_size' = to_jsonb(event.sequence - 1)
                AND event.payload::jsonb ->> 'merkle_root' ~ '^[0-9a-f]{64}$'
            END, false);
    END IF;

    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = fault;
    END IF;
    RETURN NULL;
END
$function$;

CREATE FUNCTION indelible.queue_events() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    INSERT INTO indelible.outbox (organisation_id, chain_key, first_sequence, last_sequence)
    SELECT inserted.organisation_id, inserted.chain_key, min(inserted.sequence), max(inserted.sequence)
      FROM inserted
     GROUP BY inserted.organisation_id, inserted.chain_key;
    RETURN NULL;
END
$function$;

CREATE FUNCTION indelible.guard_organisation() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.organisation_id IS DISTINCT FROM current_setting('indelible.organisation', true) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('a row of %s.%s is refused: its organisation is not the one this transaction is for',
                             TG_TABLE_SCHEMA, TG_TABLE_NAME);
    END IF;
    RETURN NEW;
END
$function$;

REVOKE ALL ON FUNCTION indelible.refuse_change(), indelible.guard_events(), indelible.queue_events(),
    indelible.guard_organisation() FROM PUBLIC;

-- Triggers of the same moment fire in order of name: guard_events before queue_events.
CREATE TRIGGER guard_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION indelible.guard_events();
CREATE TRIGGER queue_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION indelible.queue_events();
ALTER TABLE indelible.events ENABLE ALWAYS TRIGGER guard_events;
ALTER TABLE indelible.events ENABLE ALWAYS TRIGGER queue_events;

DO $guards$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['organisations', 'chains', 'events', 'anchors', 'anchor_evidence', 'verify_links',
                                'verify_link_revocations']
    LOOP
        EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON indelible.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER refuse_change_of_row BEFORE UPDATE OR DELETE ON indelible.%I
                            FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change()', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER refuse_change', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER refuse_change_of_row', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['chains', 'disclosures', 'anchor_jobs', 'anchors', 'anchor_evidence', 'verify_links',
                                'verify_link_revocations']
    LOOP
        EXECUTE format('CREATE TRIGGER guard_organisation BEFORE INSERT ON indelible.%I
                            FOR EACH ROW EXECUTE FUNCTION indelible.guard_organisation()', name);
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ALWAYS TRIGGER guard_organisation', name);
    END LOOP;
END
$guards$;
