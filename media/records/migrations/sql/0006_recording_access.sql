-- Who may do what with recordings, and row-level security, as in 0003_access.sql. Run as indelible_owner.

DO $access$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['recording_consents', 'recordings', 'recording_participants', 'recording_stays',
                                'recording_webhooks', 'recording_remarks', 'recording_annotations', 'recording_jobs',
                                'recording_raws', 'recording_raw_ends', 'recording_files', 'recording_accesses']
    LOOP
        EXECUTE format('ALTER TABLE evidence.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON evidence.%I
                            USING (organisation_id = (SELECT current_setting(''indelible.organisation'', true)))', name);
        EXECUTE format('GRANT SELECT ON evidence.%I TO indelible_evidence, indelible_evidence_worker', name);
    END LOOP;
END
$access$;

-- Callers consent, start, stop, hand annotations over and read; what LiveKit does and what comes of it is the worker's.
GRANT INSERT ON evidence.recording_consents, evidence.recording_participants, evidence.recording_annotations,
                evidence.recording_accesses TO indelible_evidence;
GRANT INSERT (recording_id, organisation_id, session_chain_id, room, operator, composite, annotations_expected,
              stream_copy, key_prefix, requested_by, started_at) ON evidence.recordings TO indelible_evidence;
GRANT UPDATE (state, stopped_at, stopped_by, stop_reason, next_attempt_at) ON evidence.recordings TO indelible_evidence;
GRANT UPDATE (next_attempt_at) ON evidence.recording_jobs TO indelible_evidence;

GRANT UPDATE (state, stopped_at, stopped_by, stop_reason, facts, failure_reason, failure_message, ended_at, empty_since,
              last_error, next_attempt_at, disposal_by, disposal_reason, disposal_decided_at, disposed_at, protection_wanted,
              protection_done, protection_change, protection_enforced) ON evidence.recordings
    TO indelible_evidence_worker;
GRANT INSERT ON evidence.recording_participants, evidence.recording_stays, evidence.recording_webhooks,
                evidence.recording_remarks, evidence.recording_jobs, evidence.recording_raws,
                evidence.recording_raw_ends, evidence.recording_files TO indelible_evidence_worker;
GRANT UPDATE (state, attempts, tried_at, egress_id, started_at, stop_reason, stopped_at, outcome, ended_at, error, file_started_at,
              file_ended_at, file_duration_us, file_size, file_location) ON evidence.recording_stays
    TO indelible_evidence_worker;
GRANT UPDATE (state, attempts, last_error, next_attempt_at, leased_until, lease_owner, lease_number, facts,
              failure_reason, failure_message, ended_at) ON evidence.recording_jobs TO indelible_evidence_worker;
