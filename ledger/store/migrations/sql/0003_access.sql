-- Who may do what, and row-level security. Run as indelible_owner.
--
-- A role without BYPASSRLS, the owner included, sees and writes rows of the organisation its transaction names with
-- set_config('indelible.organisation', ..., true), and none at all when it names none.

DO $access$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['organisations', 'chains', 'events', 'disclosures', 'outbox', 'anchor_jobs', 'anchors',
                                'anchor_evidence', 'verify_links', 'verify_link_revocations']
    LOOP
        EXECUTE format('ALTER TABLE indelible.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON indelible.%I
                            USING (organisation_id = (SELECT current_setting(''indelible.organisation'', true)))', name);
        EXECUTE format('GRANT SELECT ON indelible.%I TO indelible_runtime, indelible_append, indelible_worker', name);
    END LOOP;
END
$access$;

GRANT USAGE ON SCHEMA indelible TO indelible_runtime, indelible_append, indelible_worker;

GRANT INSERT ON indelible.chains, indelible.events, indelible.disclosures, indelible.outbox, indelible.anchor_jobs,
    indelible.anchors, indelible.anchor_evidence, indelible.verify_links, indelible.verify_link_revocations
    TO indelible_append;
GRANT DELETE ON indelible.anchor_jobs TO indelible_append;

GRANT UPDATE (attempts, last_error, next_attempt_at, leased_until, lease_owner, state), DELETE
    ON indelible.anchor_jobs TO indelible_worker;
GRANT DELETE ON indelible.outbox TO indelible_worker;
