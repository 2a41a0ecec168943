-- Who may do what, and row-level security. Run as indelible_owner.
--
-- A role without BYPASSRLS, the owner included, sees and writes rows of the organisation its transaction names with
-- set_config('indelible.organisation', ..., true), and none at all when it names none.

DO $access$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['clips', 'artefacts', 'kept_objects', 'holds', 'hold_lifts', 'accesses',
                                'retention_changes', 'notes']
    LOOP
        EXECUTE format('ALTER TABLE evidence.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON evidence.%I
                            USING (organisation_id = (SELECT current_setting(''indelible.organisation'', true)))', name);
        EXECUTE format('GRANT SELECT ON evidence.%I TO indelible_evidence, indelible_evidence_worker', name);
    END LOOP;
END
$access$;

-- The workers' turns belong to no organisation: hidden from everyone under row-level security.
ALTER TABLE evidence.turns ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA evidence TO indelible_evidence, indelible_evidence_worker;

-- Callers ask, hold, lift, read and set the retention; they begin a disposal, and never end anything.
GRANT INSERT (organisation_id, source_id, camera_id, incident_id, key_prefix, event_at, asked_from, asked_to,
              session_chain_id, requested_by, requested_at) ON evidence.clips TO indelible_evidence;
GRANT UPDATE (state, disposal_by, disposal_reason, disposal_decided_at, next_attempt_at, protection_wanted)
    ON evidence.clips TO indelible_evidence;
GRANT INSERT ON evidence.holds, evidence.hold_lifts, evidence.accesses, evidence.retention_changes, evidence.notes
    TO indelible_evidence;

GRANT UPDATE (state, attempts, last_error, next_attempt_at, leased_until, lease_owner, lease_number, actual_from,
              actual_to, gaps, facts, failure_reason, failure_message, ended_at, disposal_by, disposal_reason,
              disposal_decided_at, disposed_at, protection_wanted, protection_done, protection_change, protection_enforced)
    ON evidence.clips TO indelible_evidence_worker;
GRANT INSERT ON evidence.artefacts, evidence.kept_objects, evidence.notes TO indelible_evidence_worker;
GRANT UPDATE (attempts, last_error, next_attempt_at, sent_at, sequence, event_hash, refusal)
    ON evidence.notes TO indelible_evidence_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON evidence.turns TO indelible_evidence_worker;
