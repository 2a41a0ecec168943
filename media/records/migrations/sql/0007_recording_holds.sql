-- Legal holds on recordings: the tables of holds take either. Run as indelible_owner. As 0002_guards.sql has it for clips:
--
-- 1. A recording under a hold is not disposed of, and no hold is placed on one whose disposal has begun:
--    guard_held_recording and touch_held_recording. Both change the recording's row, so the two wait for each other at
--    every isolation level.
-- 2. While a hold stands, no raw object of the recording is dropped either: guard_held_raw.
-- 3. Neither placing nor lifting happens in silence: the triggers of 0002_guards.sql see to holds of both kinds.

ALTER TABLE evidence.holds
    ALTER COLUMN clip_id DROP NOT NULL,
    ADD COLUMN recording_id uuid,
    ADD CONSTRAINT holds_subject_check CHECK (num_nonnulls(clip_id, recording_id) = 1),
    ADD CONSTRAINT holds_hold_id_recording_id_organisation_id_key UNIQUE (hold_id, recording_id, organisation_id),
    ADD CONSTRAINT holds_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id);
CREATE INDEX holds_recording_id ON evidence.holds (recording_id);

-- A key with a null in it is not looked up: of the two, the one that counts is.
ALTER TABLE evidence.hold_lifts
    ALTER COLUMN clip_id DROP NOT NULL,
    ADD COLUMN recording_id uuid,
    ADD CONSTRAINT hold_lifts_subject_check CHECK (num_nonnulls(clip_id, recording_id) = 1),
    ADD CONSTRAINT hold_lifts_hold_id_recording_id_organisation_id_fkey
        FOREIGN KEY (hold_id, recording_id, organisation_id) REFERENCES evidence.holds (hold_id, recording_id, organisation_id);

CREATE FUNCTION evidence.touch_held_recording() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    UPDATE evidence.recordings AS recording
       SET protection_wanted = recording.protection_wanted + 1
     WHERE recording.recording_id = NEW.recording_id AND recording.state NOT IN ('DISPOSING', 'DISPOSED');
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('hold %s is refused: recording %s is being disposed of, or does not exist',
                             NEW.hold_id, NEW.recording_id);
    END IF;
    RETURN NEW;
END
$function$;

-- Looked up under the lock that the UPDATE holds on the row: a hold that is being placed waits for it, or is seen.
CREATE FUNCTION evidence.guard_held_recording() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NEW.state <> OLD.state AND NEW.state IN ('DISPOSING', 'DISPOSED') AND EXISTS (
        SELECT FROM evidence.holds AS hold
         WHERE hold.recording_id = NEW.recording_id
           AND NOT EXISTS (SELECT FROM evidence.hold_lifts AS lift WHERE lift.hold_id = hold.hold_id))
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('recording %s is refused: a legal hold stands', OLD.recording_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE FUNCTION evidence.guard_held_raw() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    -- Locked first: a hold that is being placed waits for this, or is seen.
    PERFORM FROM evidence.recordings AS recording WHERE recording.recording_id = NEW.recording_id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM evidence.holds AS hold
         WHERE hold.recording_id = NEW.recording_id
           AND NOT EXISTS (SELECT FROM evidence.hold_lifts AS lift WHERE lift.hold_id = hold.hold_id))
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'integrity_constraint_violation',
            MESSAGE = format('dropping raw object %s is refused: a legal hold stands', NEW.raw_id);
    END IF;
    RETURN NEW;
END
$function$;

REVOKE ALL ON FUNCTION evidence.touch_held_recording(), evidence.guard_held_recording(), evidence.guard_held_raw()
    FROM PUBLIC;

CREATE TRIGGER guard_held_recording BEFORE UPDATE ON evidence.recordings
    FOR EACH ROW EXECUTE FUNCTION evidence.guard_held_recording();
CREATE TRIGGER guard_held_raw BEFORE INSERT ON evidence.recording_raw_ends
    FOR EACH ROW WHEN (NEW.fate = 'DROPPED') EXECUTE FUNCTION evidence.guard_held_raw();
ALTER TABLE evidence.recordings ENABLE ALWAYS TRIGGER guard_held_recording;
ALTER TABLE evidence.recording_raw_ends ENABLE ALWAYS TRIGGER guard_held_raw;

DO $guards$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['holds', 'hold_lifts']
    LOOP
        EXECUTE format('DROP TRIGGER touch_held_clip ON evidence.%I', name);
        EXECUTE format('CREATE TRIGGER touch_held_clip BEFORE INSERT ON evidence.%I FOR EACH ROW
                            WHEN (NEW.clip_id IS NOT NULL) EXECUTE FUNCTION evidence.touch_held_clip()', name);
        EXECUTE format('CREATE TRIGGER touch_held_recording BEFORE INSERT ON evidence.%I FOR EACH ROW
                            WHEN (NEW.recording_id IS NOT NULL) EXECUTE FUNCTION evidence.touch_held_recording()', name);
        EXECUTE format('ALTER TABLE evidence.%I ENABLE ALWAYS TRIGGER touch_held_clip', name);
        EXECUTE format('ALTER TABLE evidence.%I ENABLE ALWAYS TRIGGER touch_held_recording', name);
    END LOOP;
END
$guards$;

-- Callers hold recordings and begin their disposal, as with clips.
GRANT UPDATE (protection_wanted, disposal_by, disposal_reason, disposal_decided_at) ON evidence.recordings
    TO indelible_evidence;
