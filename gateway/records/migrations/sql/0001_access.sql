-- Identity and policy, as gateway/records/access_tables.py declares the tables. Run as indelible_owner, who then owns
-- them. Times are microseconds since 1970; timestamptz is used for retries only, which live by the database's own clock.

GRANT USAGE ON SCHEMA gateway TO indelible_gateway, indelible_gateway_worker;

-- Used by every migration of this schema. A role without BYPASSRLS, the owner included, sees and writes rows of the
-- organisation its transaction names with set_config('indelible.organisation', ..., true), and none when it names none.
CREATE FUNCTION gateway.separate(name text) RETURNS void LANGUAGE plpgsql AS $separate$
BEGIN
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_organisation ON gateway.%I
                        USING (organisation_id = (SELECT current_setting(''indelible.organisation'', true)))', name);
END
$separate$;

CREATE FUNCTION gateway.refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $function$
BEGIN
    RAISE EXCEPTION '% of % is refused: these rows stay as they were written', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$function$;

-- Rows of the table are never changed and never removed.
CREATE FUNCTION gateway.keep(name text) RETURNS void LANGUAGE plpgsql AS $keep$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change()', name);
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ALWAYS TRIGGER refuse_change', name);
END
$keep$;

-- Rows of the table are never removed.
CREATE FUNCTION gateway.never_remove(name text) RETURNS void LANGUAGE plpgsql AS $never_remove$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON gateway.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change()', name);
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ALWAYS TRIGGER refuse_removal', name);
END
$never_remove$;

CREATE TABLE gateway.credentials (
    credential_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    roles text[] NOT NULL,
    scopes text[] NOT NULL,
    token_seconds integer NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    revoked_by text,
    revoked_reason text,
    revoked_at bigint,
    CONSTRAINT credentials_pkey PRIMARY KEY (credential_id),
    CONSTRAINT credentials_credential_id_organisation_id_key UNIQUE (credential_id, organisation_id),
    CONSTRAINT credentials_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT credentials_name_check CHECK (btrim(name, E' \t\r\n') <> ''),
    CONSTRAINT credentials_created_by_check CHECK (btrim(created_by, E' \t\r\n') <> ''),
    CONSTRAINT credentials_token_seconds_check CHECK (token_seconds BETWEEN 60 AND 3600),
    CONSTRAINT credentials_revoked_check CHECK ((revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE INDEX credentials_organisation_id ON gateway.credentials (organisation_id, credential_id);

CREATE TABLE gateway.credential_secrets (
    secret_id uuid NOT NULL,
    credential_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    ends_at bigint,
    CONSTRAINT credential_secrets_pkey PRIMARY KEY (secret_id),
    CONSTRAINT credential_secrets_credential_id_organisation_id_fkey
        FOREIGN KEY (credential_id, organisation_id) REFERENCES gateway.credentials (credential_id, organisation_id),
    CONSTRAINT credential_secrets_secret_sha256_key UNIQUE (secret_sha256),
    CONSTRAINT credential_secrets_secret_sha256_check CHECK (length(secret_sha256) = 32),
    CONSTRAINT credential_secrets_created_by_check CHECK (btrim(created_by, E' \t\r\n') <> '')
);
CREATE INDEX credential_secrets_credential_id ON gateway.credential_secrets (credential_id, created_at);

CREATE TABLE gateway.sites (
    organisation_id text COLLATE "C" NOT NULL,
    site_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    CONSTRAINT sites_pkey PRIMARY KEY (organisation_id, site_id),
    CONSTRAINT sites_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT sites_site_id_check CHECK (site_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT sites_name_check CHECK (btrim(name, E' \t\r\n') <> '')
);

CREATE TABLE gateway.cameras (
    organisation_id text COLLATE "C" NOT NULL,
    camera_id text COLLATE "C" NOT NULL,
    site_id text COLLATE "C" NOT NULL,
    CONSTRAINT cameras_pkey PRIMARY KEY (organisation_id, camera_id),
    CONSTRAINT cameras_organisation_id_site_id_fkey
        FOREIGN KEY (organisation_id, site_id) REFERENCES gateway.sites (organisation_id, site_id),
    CONSTRAINT cameras_camera_id_check CHECK (camera_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$')
);
CREATE INDEX cameras_site ON gateway.cameras (organisation_id, site_id);

CREATE TABLE gateway.custom_roles (
    organisation_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    permissions text[] NOT NULL,
    changed_by text NOT NULL,
    changed_at bigint NOT NULL,
    CONSTRAINT custom_roles_pkey PRIMARY KEY (organisation_id, name),
    CONSTRAINT custom_roles_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT custom_roles_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT custom_roles_permissions_check CHECK (cardinality(permissions) > 0),
    CONSTRAINT custom_roles_changed_by_check CHECK (btrim(changed_by, E' \t\r\n') <> '')
);

CREATE TABLE gateway.assignments (
    assignment_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    site_id text COLLATE "C",
    camera_id text COLLATE "C",
    assigned_by text NOT NULL,
    assigned_at bigint NOT NULL,
    removed_by text,
    removed_at bigint,
    CONSTRAINT assignments_pkey PRIMARY KEY (assignment_id),
    CONSTRAINT assignments_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT assignments_subject_check CHECK (btrim(subject, E' \t\r\n') <> ''),
    CONSTRAINT assignments_role_check CHECK (role ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT assignments_site_id_check CHECK (site_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT assignments_camera_id_check CHECK (camera_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT assignments_assigned_by_check CHECK (btrim(assigned_by, E' \t\r\n') <> ''),
    CONSTRAINT assignments_place_check CHECK (site_id IS NULL OR camera_id IS NULL),
    CONSTRAINT assignments_removed_check CHECK ((removed_at IS NULL) = (removed_by IS NULL))
);
CREATE UNIQUE INDEX assignments_standing ON gateway.assignments (organisation_id, subject, role, site_id, camera_id)
    NULLS NOT DISTINCT WHERE removed_at IS NULL;

CREATE TABLE gateway.decisions (
    decision_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    organisation_id text COLLATE "C" NOT NULL,
    decided_at bigint NOT NULL,
    subject text NOT NULL,
    credential_id text,
    action text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    resource_id text NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    policies text[] NOT NULL,
    request_id text NOT NULL,
    batch_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    CONSTRAINT decisions_pkey PRIMARY KEY (decision_id),
    CONSTRAINT decisions_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT decisions_outcome_check CHECK (outcome IN ('allowed', 'denied', 'foreign', 'not_found')),
    CONSTRAINT decisions_sent_at_check CHECK (sent_at IS NULL OR batch_id IS NOT NULL)
);
CREATE INDEX decisions_unsent ON gateway.decisions (organisation_id, decision_id) WHERE sent_at IS NULL;
CREATE INDEX decisions_batch ON gateway.decisions (batch_id) WHERE sent_at IS NULL;
CREATE INDEX decisions_sent ON gateway.decisions (sent_at) WHERE sent_at IS NOT NULL;

-- A decision leaves this table only after the ledger has it.
CREATE FUNCTION gateway.guard_decision()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $function$
BEGIN
    IF OLD.sent_at IS NULL THEN
        RAISE EXCEPTION 'decision % is not on the operations chain yet and stays', OLD.decision_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END
$function$;
CREATE TRIGGER guard_decision BEFORE DELETE ON gateway.decisions
    FOR EACH ROW EXECUTE FUNCTION gateway.guard_decision();
ALTER TABLE gateway.decisions ENABLE ALWAYS TRIGGER guard_decision;
CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON gateway.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change();
ALTER TABLE gateway.decisions ENABLE ALWAYS TRIGGER refuse_truncation;

SELECT gateway.never_remove(name) FROM unnest(ARRAY['credentials', 'credential_secrets', 'assignments']) AS name;
SELECT gateway.separate(name)
  FROM unnest(ARRAY['credentials', 'credential_secrets', 'sites', 'cameras', 'custom_roles', 'assignments',
                    'decisions']) AS name;

GRANT SELECT, INSERT ON gateway.credentials, gateway.credential_secrets, gateway.assignments TO indelible_gateway;
GRANT UPDATE (revoked_by, revoked_reason, revoked_at) ON gateway.credentials TO indelible_gateway;
GRANT UPDATE (ends_at) ON gateway.credential_secrets TO indelible_gateway;
GRANT UPDATE (removed_by, removed_at) ON gateway.assignments TO indelible_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.sites, gateway.cameras, gateway.custom_roles TO indelible_gateway;
-- What was decided is written once by those who answer, and moved on by those who relay.
GRANT INSERT ON gateway.decisions TO indelible_gateway;
GRANT SELECT, DELETE ON gateway.decisions TO indelible_gateway_worker;
GRANT UPDATE (batch_id, attempts, next_attempt_at, sent_at) ON gateway.decisions TO indelible_gateway_worker;
