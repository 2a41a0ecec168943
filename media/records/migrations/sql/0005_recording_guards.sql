-- What the database refuses by itself about recordings, whoever asks. Run as indelible_owner. As 0002_guards.sql, and:
--
-- 1. No recording without consent: a recording is begun only while the newest act of its operator is a consent, and an
--    egress is written down only while that of its participant is: guard_new_recording and guard_new_stay. Both, and a
--    new consent, take the session's advisory lock, so that a withdrawal and a start wait for each other.
-- 2. What was asked for, what LiveKit did and what came of it stays as it was: guard_recording, guard_stay, guard_job.
-- 3. A recording leaves LiveKit's hands only when every egress of it has an outcome: guard_recording.
-- 4. Nothing happens in silence: require_recording_note refuses the commit of any of it without its note, on the
--    session's chain or on the operations chain.

CREATE FUNCTION evidence.lock_session() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.organisation_id || '/' || NEW.session_chain_id, 5));
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_new_recording() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    newest record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.organisation_id || '/' || NEW.session_chain_id, 5));
    SELECT consent.act, consent.role INTO newest
      FROM evidence.recording_consents AS consent
     WHERE consent.organisation_id = NEW.organisation_id AND consent.session_chain_id = NEW.session_chain_id
       AND consent.participant = NEW.operator AND consent.act <> 'BANNER_SHOWN'
     ORDER BY consent.consent_number DESC
     LIMIT 1;
    IF (newest.act, newest.role) IS DISTINCT FROM ('GIVEN', 'OPERATOR') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('recording %s is refused: its operator has not consented', NEW.recording_id);
    END IF;
    IF NEW.state <> 'STARTING'
       OR num_nonnulls(NEW.stopped_at, NEW.stopped_by, NEW.stop_reason, NEW.facts, NEW.failure_reason,
                       NEW.failure_message, NEW.ended_at, NEW.disposal_by, NEW.disposal_reason,
                       NEW.disposal_decided_at, NEW.disposed_at, NEW.protection_enforced) > 0
       OR (NEW.protection_wanted, NEW.protection_done, NEW.protection_change) <> (0, 0, 0)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('recording %s is refused: a recording begins as a request', NEW.recording_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_recording() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    is_new_state CONSTANT boolean := NEW.state <> OLD.state;
    fault text;
BEGIN
    fault := CASE
        WHEN (NEW.recording_id, NEW.organisation_id, NEW.session_chain_id, NEW.room, NEW.operator, NEW.composite,
              NEW.annotations_expected, NEW.stream_copy, NEW.key_prefix, NEW.requested_by, NEW.started_at)
             IS DISTINCT FROM
             (OLD.recording_id, OLD.organisation_id, OLD.session_chain_id, OLD.room, OLD.operator, OLD.composite,
              OLD.annotations_expected, OLD.stream_copy, OLD.key_prefix, OLD.requested_by, OLD.started_at)
            THEN 'what was asked for never changes'
        WHEN is_new_state AND NOT CASE OLD.state
                WHEN 'STARTING' THEN NEW.state IN ('RECORDING', 'STOPPING')
                WHEN 'RECORDING' THEN NEW.state = 'STOPPING'
                WHEN 'STOPPING' THEN NEW.state IN ('WAITING', 'FAILED')
                WHEN 'WAITING' THEN NEW.state IN ('PROCESSING', 'COMPLETED', 'FAILED')
                WHEN 'PROCESSING' THEN NEW.state IN ('COMPLETED', 'FAILED')
                WHEN 'COMPLETED' THEN NEW.state = 'DISPOSING'
                WHEN 'FAILED' THEN NEW.state = 'DISPOSING'
                WHEN 'DISPOSING' THEN NEW.state = 'DISPOSED'
                ELSE false
             END
            THEN format('from %s it cannot become %s', OLD.state, NEW.state)
        WHEN NOT (is_new_state AND NEW.state = 'STOPPING')
             AND (NEW.stopped_at, NEW.stopped_by, NEW.stop_reason)
                 IS DISTINCT FROM (OLD.stopped_at, OLD.stopped_by, OLD.stop_reason)
            THEN 'who stopped it, why and when is written once'
        WHEN NEW.state = 'STOPPING' AND num_nulls(NEW.stopped_at, NEW.stopped_by, NEW.stop_reason) > 0
            THEN 'a recording that is stopped says who stopped it, why and when'
        WHEN NOT (is_new_state AND NEW.state IN ('COMPLETED', 'FAILED'))
             AND (NEW.facts, NEW.failure_reason, NEW.failure_message, NEW.ended_at)
                 IS DISTINCT FROM (OLD.facts, OLD.failure_reason, OLD.failure_message, OLD.ended_at)
            THEN 'its outcome is written when it ends, and never changes'
        WHEN NEW.state IN ('COMPLETED', 'FAILED') AND NEW.ended_at IS NULL
            THEN 'a recording that has ended says when'
        WHEN NEW.state = 'COMPLETED' AND num_nonnulls(NEW.failure_reason, NEW.failure_message) > 0
            THEN 'a completed recording has not failed'
        WHEN NEW.state = 'FAILED' AND (coalesce(NEW.failure_reason, '') = '' OR coalesce(NEW.failure_message, '') = '')
            THEN 'a failed recording says why'
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
            THEN 'a recording that was disposed of says when'
        WHEN NEW.protection_wanted < OLD.protection_wanted OR NEW.protection_change < OLD.protection_change
             OR NEW.protection_done > NEW.protection_wanted
            THEN 'its counters only rise'
    END;
    IF fault IS NULL AND is_new_state AND NEW.state IN ('WAITING', 'FAILED') AND EXISTS (
        SELECT FROM evidence.recording_stays AS stay
         WHERE stay.recording_id = NEW.recording_id AND stay.state <> 'ENDED')
    THEN
        fault := 'an egress of it has no outcome yet';
    END IF;
    IF fault IS NULL AND is_new_state AND NEW.state = 'COMPLETED' AND NOT EXISTS (
        SELECT FROM evidence.recording_files AS file WHERE file.recording_id = NEW.recording_id)
    THEN
        fault := 'its files must be stored first';
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('recording %s is refused: %s', OLD.recording_id, fault);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_new_stay() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    recording record;
    newest text;
    fault text;
BEGIN
    SELECT * INTO recording FROM evidence.recordings AS one WHERE one.recording_id = NEW.recording_id;
    PERFORM pg_advisory_xact_lock(
        hashtextextended(recording.organisation_id || '/' || recording.session_chain_id, 5));
    -- Read again under the lock, and kept as it is until this commit: a stop waits for it, or is seen.
    SELECT * INTO recording FROM evidence.recordings AS one
     WHERE one.recording_id = NEW.recording_id FOR NO KEY UPDATE;
    SELECT consent.act INTO newest
      FROM evidence.recording_consents AS consent
     WHERE consent.organisation_id = recording.organisation_id
       AND consent.session_chain_id = recording.session_chain_id
       AND consent.participant = coalesce(NEW.participant, recording.operator) AND consent.act <> 'BANNER_SHOWN'
     ORDER BY consent.consent_number DESC
     LIMIT 1;
    fault := CASE
        WHEN recording.state IS NULL OR recording.state NOT IN ('STARTING', 'RECORDING')
            THEN 'nothing is being recorded'
        WHEN newest IS DISTINCT FROM 'GIVEN'
            THEN 'whom it records has not consented'
        WHEN NEW.part = 'participant' AND NOT EXISTS (
                SELECT FROM evidence.recording_participants AS one
                 WHERE one.recording_id = NEW.recording_id AND one.participant = NEW.participant
                   AND one.tile = NEW.tile)
            THEN 'its tile is not the participant''s'
        WHEN NEW.state <> 'ASKED'
             OR num_nonnulls(NEW.egress_id, NEW.started_at, NEW.stop_reason, NEW.stopped_at, NEW.outcome, NEW.ended_at,
                             NEW.file_started_at, NEW.file_ended_at, NEW.file_duration_us, NEW.file_size,
                             NEW.file_location) > 0
            THEN 'an egress begins as a request'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('egress %s is refused: %s', NEW.raw_key, fault);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_stay() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    is_ending CONSTANT boolean := NEW.state = 'ENDED' AND OLD.state <> 'ENDED';
    fault text;
BEGIN
    fault := CASE
        WHEN (NEW.stay_id, NEW.recording_id, NEW.organisation_id, NEW.part, NEW.participant, NEW.tile, NEW.number,
              NEW.raw_key, NEW.asked_at)
             IS DISTINCT FROM
             (OLD.stay_id, OLD.recording_id, OLD.organisation_id, OLD.part, OLD.participant, OLD.tile, OLD.number,
              OLD.raw_key, OLD.asked_at)
            THEN 'what was asked for never changes'
        WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
                WHEN 'ASKED' THEN true
                WHEN 'ACTIVE' THEN NEW.state IN ('STOPPING', 'ENDED')
                WHEN 'STOPPING' THEN NEW.state = 'ENDED'
                ELSE false
             END
            THEN format('from %s it cannot become %s', OLD.state, NEW.state)
        WHEN OLD.egress_id IS NOT NULL
             AND (NEW.egress_id, NEW.started_at) IS DISTINCT FROM (OLD.egress_id, OLD.started_at)
            THEN 'which egress it is is written once'
        WHEN OLD.stopped_at IS NOT NULL
             AND (NEW.stop_reason, NEW.stopped_at) IS DISTINCT FROM (OLD.stop_reason, OLD.stopped_at)
            THEN 'why it was stopped is written once'
        WHEN NEW.state = 'STOPPING' AND num_nulls(NEW.stop_reason, NEW.stopped_at) > 0
            THEN 'an egress that is stopped says why and when'
        WHEN NOT is_ending
             AND (NEW.outcome, NEW.ended_at, NEW.error, NEW.file_started_at, NEW.file_ended_at, NEW.file_duration_us,
                  NEW.file_size, NEW.file_location)
                 IS DISTINCT FROM
                 (OLD.outcome, OLD.ended_at, OLD.error, OLD.file_started_at, OLD.file_ended_at, OLD.file_duration_us,
                  OLD.file_size, OLD.file_location)
            THEN 'its outcome is written when it ends, and never changes'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('egress %s is refused: %s', OLD.raw_key, fault);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_new_job() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.state <> 'OPEN' OR (NEW.attempts, NEW.lease_number) <> (0, 0)
       OR num_nonnulls(NEW.leased_until, NEW.lease_owner, NEW.facts, NEW.failure_reason, NEW.failure_message,
                       NEW.ended_at) > 0
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('job %s is refused: a job begins as a request', NEW.job_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_job() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    fault text;
BEGIN
    fault := CASE
        WHEN (NEW.job_id, NEW.recording_id, NEW.organisation_id, NEW.task, NEW.subject, NEW.stay_id, NEW.created_at)
             IS DISTINCT FROM
             (OLD.job_id, OLD.recording_id, OLD.organisation_id, OLD.task, OLD.subject, OLD.stay_id, OLD.created_at)
            THEN 'what was asked for never changes'
        WHEN OLD.state <> 'OPEN'
            THEN 'it has ended'
        WHEN NEW.state = 'OPEN' AND num_nonnulls(NEW.facts, NEW.failure_reason, NEW.failure_message, NEW.ended_at) > 0
            THEN 'its outcome is written when it ends'
        WHEN NEW.state <> 'OPEN' AND (NEW.ended_at IS NULL OR NEW.leased_until IS NOT NULL)
            THEN 'a job that has ended says when, and is nobody''s'
        WHEN NEW.state = 'FAILED' AND (coalesce(NEW.failure_reason, '') = '' OR coalesce(NEW.failure_message, '') = '')
            THEN 'a failed job says why'
        WHEN NEW.lease_number < OLD.lease_number
            THEN 'its counters only rise'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('job %s is refused: %s', OLD.job_id, fault);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_recording_file() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    fault text;
BEGIN
    SELECT CASE
        WHEN recording.state NOT IN ('WAITING', 'PROCESSING')
            THEN 'the recording is not being processed'
        WHEN NEW.key <> recording.key_prefix || NEW.name
            THEN 'its key is not one of the recording'
        ELSE ''
    END
      INTO fault
      FROM evidence.recordings AS recording
     WHERE recording.recording_id = NEW.recording_id
       FOR NO KEY UPDATE;
    IF fault <> '' OR fault IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('object %s is refused: %s', NEW.key, coalesce(fault, 'there is no such recording'));
    END IF;
    RETURN NEW;
END
$function$;

-- A raw object goes only when the recording is completed and everything that was to be told of it is on a chain, or never
-- will be (which the operations chain then tells).
CREATE FUNCTION evidence.guard_raw_end() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.fate = 'DROPPED' AND (
        NOT EXISTS (SELECT FROM evidence.recordings AS recording
                     WHERE recording.recording_id = NEW.recording_id AND recording.state = 'COMPLETED')
        OR EXISTS (SELECT FROM evidence.notes AS note
                    WHERE note.recording_id = NEW.recording_id AND note.kind <> 'recording.raw_dropped'
                      AND note.sent_at IS NULL AND note.refusal IS NULL))
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('dropping raw object %s is refused: its recording is not completed, or not told of',
                             NEW.raw_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_note_of_recording() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.recording_id IS DISTINCT FROM OLD.recording_id THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation',
            MESSAGE = format('note %s keeps what it was given: the change is refused', OLD.note_id);
    END IF;
    RETURN NEW;
END
$function$;

-- Runs at commit. Arguments: the kind of note, the column that names what it is about, and, where '%' stands in the kind,
-- the column that it stands for.
CREATE FUNCTION evidence.require_recording_note() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    subject CONSTANT uuid := to_jsonb(NEW) ->> TG_ARGV[1];
    needed CONSTANT text := replace(TG_ARGV[0], '%', lower(coalesce(to_jsonb(NEW) ->> TG_ARGV[2], '')));
    session text := to_jsonb(NEW) ->> 'session_chain_id';
BEGIN
    IF session IS NULL THEN
        SELECT recording.session_chain_id INTO session
          FROM evidence.recordings AS recording
         WHERE recording.recording_id = (to_jsonb(NEW) ->> 'recording_id')::uuid;
    END IF;
    IF NOT EXISTS (
        SELECT FROM evidence.notes AS note
         WHERE note.organisation_id = NEW.organisation_id AND note.chain_id IN (session, 'operations')
           AND note.kind = needed AND note.subject_id = subject)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('a change of %s.%s is refused: no note %s about %s goes with it',
                             TG_TABLE_SCHEMA, TG_TABLE_NAME, needed, subject);
    END IF;
    RETURN NULL;
END
$function$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA evidence FROM PUBLIC;

CREATE TRIGGER lock_session BEFORE INSERT ON evidence.recording_consents
    FOR EACH ROW EXECUTE FUNCTION evidence.lock_session();
CREATE TRIGGER guard_new_recording BEFORE INSERT ON evidence.recordings
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_new_recording();
CREATE TRIGGER guard_recording BEFORE UPDATE ON evidence.recordings
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_recording();
CREATE TRIGGER guard_new_stay BEFORE INSERT ON evidence.recording_stays
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_new_stay();
CREATE TRIGGER guard_stay BEFORE UPDATE ON evidence.recording_stays
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_stay();
CREATE TRIGGER guard_new_job BEFORE INSERT ON evidence.recording_jobs
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_new_job();
CREATE TRIGGER guard_job BEFORE UPDATE ON evidence.recording_jobs
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_job();
CREATE TRIGGER guard_recording_file BEFORE INSERT ON evidence.recording_files
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_recording_file();
CREATE TRIGGER guard_raw_end BEFORE INSERT ON evidence.recording_raw_ends
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_raw_end();
CREATE TRIGGER guard_note_of_recording BEFORE UPDATE ON evidence.notes
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_note_of_recording();

CREATE CONSTRAINT TRIGGER note_consent AFTER INSERT ON evidence.recording_consents DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_recording_note('consent.%', 'consent_id', 'act');
CREATE CONSTRAINT TRIGGER note_started AFTER INSERT ON evidence.recordings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_recording_note('recording.started', 'recording_id');
CREATE CONSTRAINT TRIGGER note_stopped AFTER UPDATE ON evidence.recordings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'STOPPING' AND OLD.state <> 'STOPPING')
    EXECUTE FUNCTION evidence.require_recording_note('recording.stopped', 'recording_id');
CREATE CONSTRAINT TRIGGER note_completed AFTER UPDATE ON evidence.recordings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'COMPLETED' AND OLD.state <> 'COMPLETED')
    EXECUTE FUNCTION evidence.require_recording_note('recording.completed', 'recording_id');
CREATE CONSTRAINT TRIGGER note_failed AFTER UPDATE ON evidence.recordings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'FAILED' AND OLD.state <> 'FAILED')
    EXECUTE FUNCTION evidence.require_recording_note('recording.failed', 'recording_id');
CREATE CONSTRAINT TRIGGER note_disposed AFTER UPDATE ON evidence.recordings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'DISPOSED' AND OLD.state <> 'DISPOSED')
    EXECUTE FUNCTION evidence.require_recording_note('recording.disposed', 'recording_id');
CREATE CONSTRAINT TRIGGER note_active AFTER UPDATE ON evidence.recording_stays DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.egress_id IS NOT NULL AND OLD.egress_id IS NULL)
    EXECUTE FUNCTION evidence.require_recording_note('recording.%_started', 'stay_id', 'part');
CREATE CONSTRAINT TRIGGER note_ended AFTER UPDATE ON evidence.recording_stays DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'ENDED' AND OLD.state <> 'ENDED')
    EXECUTE FUNCTION evidence.require_recording_note('recording.%_ended', 'stay_id', 'part');
CREATE CONSTRAINT TRIGGER note_hashed AFTER INSERT ON evidence.recording_raws DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_recording_note('recording.file_hashed', 'raw_id');
CREATE CONSTRAINT TRIGGER note_dropped AFTER INSERT ON evidence.recording_raw_ends DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.fate = 'DROPPED')
    EXECUTE FUNCTION evidence.require_recording_note('recording.raw_dropped', 'raw_id');
CREATE CONSTRAINT TRIGGER note_stored AFTER INSERT ON evidence.recording_files DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_recording_note('recording.file_stored', 'file_id');
CREATE CONSTRAINT TRIGGER note_recording_accessed AFTER INSERT ON evidence.recording_accesses
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evidence.require_recording_note('recording.accessed', 'access_id');

DO $guards$
DECLARE
    name text;
    made record;
BEGIN
    FOREACH name IN ARRAY ARRAY['recording_consents', 'recording_participants', 'recording_webhooks',
                                'recording_remarks', 'recording_annotations', 'recording_raws', 'recording_raw_ends',
                                'recording_files', 'recording_accesses']
    LOOP
        EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION evidence.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER refuse_change_of_row BEFORE UPDATE OR DELETE ON evidence.%I
                            FOR EACH ROW EXECUTE FUNCTION evidence.refuse_change()', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['recordings', 'recording_stays', 'recording_jobs']
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
