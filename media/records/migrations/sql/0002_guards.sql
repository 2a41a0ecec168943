-- What the database refuses by itself, whoever asks. Run as indelible_owner.
--
-- 1. Rows of the record are never changed or removed: refuse_change. Clips and notes change, but only as guard_clip and
--    guard_note allow, and are never removed.
-- 2. What was asked for, and what was preserved, stays as it was: guard_clip.
-- 3. A clip under a hold is not disposed of, and no hold is placed on a clip whose disposal has begun: guard_clip and
--    touch_held_clip. Both change the clip's row, so the two wait for each other at every isolation level.
-- 4. Nothing happens in silence: require_note refuses the commit of a preservation, a failure, a disposal, a hold, a
--    lift, an access or a change of retention whose note for the operations chain is missing.
--
-- All triggers are ENABLE ALWAYS: an ordinary trigger does not fire under session_replication_role = replica.
-- The service compares these triggers and the functions' text with this file before it serves (media/records/guards.py).

CREATE FUNCTION evidence.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = format('%s.%s keeps what it was given: %s is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP);
END
$function$;

CREATE FUNCTION evidence.guard_new_clip() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.state <> 'REQUESTED'
       OR num_nonnulls(NEW.leased_until, NEW.lease_owner, NEW.actual_from, NEW.actual_to, NEW.facts, NEW.failure_reason,
                       NEW.failure_message, NEW.ended_at, NEW.disposal_by, NEW.disposal_reason,
                       NEW.disposal_decided_at, NEW.disposed_at, NEW.protection_enforced) > 0
       OR (NEW.attempts, NEW.lease_number, NEW.protection_wanted, NEW.protection_done, NEW.protection_change)
          <> (0, 0, 0, 0, 0)
       OR NEW.gaps <> '[]'
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('clip %s is refused: a clip begins as a request', NEW.clip_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_clip() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    is_open CONSTANT boolean := OLD.state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING');
    is_new_state CONSTANT boolean := NEW.state <> OLD.state;
    fault text;
BEGIN
    fault := CASE
        WHEN (NEW.clip_id, NEW.organisation_id, NEW.source_id, NEW.camera_id, NEW.incident_id, NEW.key_prefix,
              NEW.event_at, NEW.asked_from, NEW.asked_to, NEW.session_chain_id, NEW.requested_by, NEW.requested_at)
             IS DISTINCT FROM
             (OLD.clip_id, OLD.organisation_id, OLD.source_id, OLD.camera_id, OLD.incident_id, OLD.key_prefix,
              OLD.event_at, OLD.asked_from, OLD.asked_to, OLD.session_chain_id, OLD.requested_by, OLD.requested_at)
            THEN 'what was asked for never changes'
        WHEN is_new_state AND NOT CASE OLD.state
                WHEN 'STORING' THEN NEW.state IN ('WAITING', 'EXTRACTING', 'PRESERVED', 'FAILED')
                WHEN 'PRESERVED' THEN NEW.state = 'DISPOSING'
                WHEN 'FAILED' THEN NEW.state = 'DISPOSING'
                WHEN 'DISPOSING' THEN NEW.state = 'DISPOSED'
                WHEN 'DISPOSED' THEN false
                ELSE NEW.state IN ('WAITING', 'EXTRACTING', 'STORING', 'FAILED')
             END
            THEN format('from %s it cannot become %s', OLD.state, NEW.state)
        WHEN NOT (is_open AND NEW.state IN ('PRESERVED', 'FAILED'))
             AND (NEW.actual_from, NEW.actual_to, NEW.gaps, NEW.facts, NEW.failure_reason, NEW.failure_message,
                  NEW.ended_at)
                 IS DISTINCT FROM
                 (OLD.actual_from, OLD.actual_to, OLD.gaps, OLD.facts, OLD.failure_reason, OLD.failure_message,
                  OLD.ended_at)
            THEN 'its outcome is written when it ends, and never changes'
        WHEN NEW.state = 'PRESERVED' AND num_nulls(NEW.actual_from, NEW.actual_to, NEW.facts, NEW.ended_at) > 0
            THEN 'a preserved clip says what it shows and when it was preserved'
        WHEN NEW.state = 'PRESERVED' AND num_nonnulls(NEW.failure_reason, NEW.failure_message) > 0
            THEN 'a preserved clip has not failed'
        WHEN NEW.state = 'FAILED' AND NEW.ended_at IS NULL
            THEN 'a failed clip says when it failed'
        WHEN NEW.state = 'FAILED' AND (coalesce(NEW.failure_reason, '') = '' OR coalesce(NEW.failure_message, '') = '')
            THEN 'a failed clip says why'
        WHEN NEW.leased_until IS NOT NULL AND NEW.state NOT IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')
            THEN 'there is nothing left to work on'
        WHEN NOT (is_new_state AND NEW.state = 'DISPOSING')
             AND (NEW.disposal_by, NEW.disposal_reason, NEW.disposal_decided_at)
                 IS DISTINCT FROM (OLD.disposal_by, OLD.disposal_reason, OLD.disposal_decided_at)
            THEN 'who decided its disposal and why is written once'
        WHEN NEW.state = 'DISPOSING'
             AND (btrim(coalesce(NEW.disposal_by, '')) = '' OR btrim(coalesce(NEW.disposal_reason, '')) = ''
                  OR NEW.disposal_decided_at IS NULL)
            THEN 'a disposal says who decided it, why and when'
        WHEN NEW.disposed_at IS DISTINCT FROM OLD.disposed_at AND NOT (is_new_state AND NEW.state = 'DISPOSED')
            THEN 'when it was disposed of is written once'
        WHEN NEW.state = 'DISPOSED' AND NEW.disposed_at IS NULL
            THEN 'a clip that was disposed of says when'
        WHEN NEW.lease_number < OLD.lease_number OR NEW.protection_wanted < OLD.protection_wanted
             OR NEW.protection_change < OLD.protection_change OR NEW.protection_done > NEW.protection_wanted
            THEN 'its counters only rise'
    END;
    -- Looked up under the lock that this UPDATE holds on the row: a hold that is being placed waits for it, or is seen.
    IF fault IS NULL AND is_new_state AND NEW.state IN ('DISPOSING', 'DISPOSED') AND EXISTS (
        SELECT FROM evidence.holds AS hold
         WHERE hold.clip_id = NEW.clip_id
           AND NOT EXISTS (SELECT FROM evidence.hold_lifts AS lift WHERE lift.hold_id = hold.hold_id))
    THEN
        fault := 'a legal hold stands';
    END IF;
    IF fault IS NULL AND is_new_state AND NEW.state = 'PRESERVED' AND (
        SELECT count(DISTINCT artefact.role) FILTER (WHERE artefact.role IN ('native', 'primary', 'metadata', 'custody'))
          FROM evidence.artefacts AS artefact WHERE artefact.clip_id = NEW.clip_id) < 4
    THEN
        fault := 'native copy, clip, metadata and custody must be stored first';
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('clip %s is refused: %s', OLD.clip_id, fault);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_stored_object() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    fault text;
BEGIN
    SELECT CASE
        WHEN clip.state NOT IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')
            THEN 'the clip has ended'
        WHEN NOT starts_with(NEW.key, clip.key_prefix) OR strpos(substr(NEW.key, length(clip.key_prefix) + 1), '/') > 0
            THEN 'its key is not one of the clip'
        ELSE ''
    END
      INTO fault
      FROM evidence.clips AS clip
     WHERE clip.clip_id = NEW.clip_id
       FOR NO KEY UPDATE;
    IF fault <> '' OR fault IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('object %s is refused: %s', NEW.key, coalesce(fault, 'there is no such clip'));
    END IF;
    RETURN NEW;
END
$function$;

-- Placing and lifting change the clip's row: a disposal that began before is seen here, one that begins after must wait
-- and sees the hold. The object store's lock is then no longer as it should be, which the counter says.
CREATE FUNCTION evidence.touch_held_clip() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    UPDATE evidence.clips AS clip
       SET protection_wanted = clip.protection_wanted + 1
     WHERE clip.clip_id = NEW.clip_id AND clip.state NOT IN ('DISPOSING', 'DISPOSED');
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('hold %s is refused: clip %s is being disposed of, or does not exist',
                             NEW.hold_id, NEW.clip_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_new_note() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.attempts <> 0 OR num_nonnulls(NEW.sent_at, NEW.sequence, NEW.event_hash, NEW.refusal) > 0
       OR NOT NEW.payload IS JSON OBJECT WITH UNIQUE KEYS
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a note is refused: it begins unsent, with a JSON object';
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_note() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF (NEW.note_id, NEW.organisation_id, NEW.chain_id, NEW.kind, NEW.subject_id, NEW.clip_id, NEW.payload)
       IS DISTINCT FROM
       (OLD.note_id, OLD.organisation_id, OLD.chain_id, OLD.kind, OLD.subject_id, OLD.clip_id, OLD.payload)
       OR OLD.sent_at IS NOT NULL OR OLD.refusal IS NOT NULL
       -- Without the operations chain an event would be on no chain at all.
       OR (NEW.refusal IS NOT NULL AND NEW.chain_id = 'operations')
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation',
            MESSAGE = format('note %s keeps what it was given: the change is refused', OLD.note_id);
    END IF;
    RETURN NEW;
END
$function$;

-- Runs at commit. Arguments: the kind of note, and the column that names what it is about.
CREATE FUNCTION evidence.require_note() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    subject CONSTANT uuid := to_jsonb(NEW) ->> TG_ARGV[1];
BEGIN
    IF NOT EXISTS (
        SELECT FROM evidence.notes AS note
         WHERE note.organisation_id = NEW.organisation_id AND note.chain_id = 'operations'
           AND note.kind = TG_ARGV[0] AND note.subject_id = subject)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('a change of %s.%s is refused: no note %s about %s goes with it',
                             TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], subject);
    END IF;
    RETURN NULL;
END
$function$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA evidence FROM PUBLIC;

CREATE TRIGGER guard_new_clip BEFORE INSERT ON evidence.clips
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_new_clip();
CREATE TRIGGER guard_clip BEFORE UPDATE ON evidence.clips
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_clip();
CREATE TRIGGER guard_artefact BEFORE INSERT ON evidence.artefacts
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_stored_object();
CREATE TRIGGER guard_kept_object BEFORE INSERT ON evidence.kept_objects
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_stored_object();
CREATE TRIGGER touch_held_clip BEFORE INSERT ON evidence.holds
    FOR EACH ROW EXECUTE FUNCTION evidence.touch_held_clip();
CREATE TRIGGER touch_held_clip BEFORE INSERT ON evidence.hold_lifts
    FOR EACH ROW EXECUTE FUNCTION evidence.touch_held_clip();
CREATE TRIGGER guard_new_note BEFORE INSERT ON evidence.notes
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_new_note();
CREATE TRIGGER guard_note BEFORE UPDATE ON evidence.notes
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_note();

CREATE CONSTRAINT TRIGGER note_preserved AFTER UPDATE ON evidence.clips DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'PRESERVED' AND OLD.state <> 'PRESERVED')
    EXECUTE FUNCTION evidence.require_note('clip.preserved', 'clip_id');
CREATE CONSTRAINT TRIGGER note_failed AFTER UPDATE ON evidence.clips DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'FAILED' AND OLD.state <> 'FAILED')
    EXECUTE FUNCTION evidence.require_note('clip.failed', 'clip_id');
CREATE CONSTRAINT TRIGGER note_disposed AFTER UPDATE ON evidence.clips DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'DISPOSED' AND OLD.state <> 'DISPOSED')
    EXECUTE FUNCTION evidence.require_note('clip.disposed', 'clip_id');
CREATE CONSTRAINT TRIGGER note_placed AFTER INSERT ON evidence.holds DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_note('hold.placed', 'hold_id');
CREATE CONSTRAINT TRIGGER note_lifted AFTER INSERT ON evidence.hold_lifts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_note('hold.lifted', 'hold_id');
CREATE CONSTRAINT TRIGGER note_accessed AFTER INSERT ON evidence.accesses DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_note('clip.accessed', 'access_id');
CREATE CONSTRAINT TRIGGER note_changed AFTER INSERT ON evidence.retention_changes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_note('retention.changed', 'change_id');

DO $guards$
DECLARE
    name text;
    made record;
BEGIN
    FOREACH name IN ARRAY ARRAY['artefacts', 'kept_objects', 'holds', 'hold_lifts', 'accesses', 'retention_changes']
    LOOP
        EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION evidence.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER refuse_change_of_row BEFORE UPDATE OR DELETE ON evidence.%I
                            FOR EACH ROW EXECUTE FUNCTION evidence.refuse_change()', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['clips', 'notes']
    LOOP
        EXECUTE format('CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON evidence.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION evidence.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER refuse_removal_of_row BEFORE DELETE ON evidence.%I
                            FOR EACH ROW EXECUTE FUNCTION evidence.refuse_change()', name);
    END LOOP;
    FOR made IN
        SELECT c.relname, t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'evidence'::regnamespace AND NOT t.tgisinternal
    LOOP
        EXECUTE format('ALTER TABLE evidence.%I ENABLE ALWAYS TRIGGER %I', made.relname, made.tgname);
    END LOOP;
END
$guards$;
