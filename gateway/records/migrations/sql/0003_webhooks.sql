-- Webhooks in and out, as gateway/records/webhook_tables.py declares the tables.

CREATE TABLE gateway.webhook_endpoints (
    endpoint_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    description text NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    disabled_at bigint,
    disabled_by text,
    disabled_reason text,
    removed_at bigint,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (endpoint_id),
    CONSTRAINT webhook_endpoints_endpoint_id_organisation_id_key UNIQUE (endpoint_id, organisation_id),
    CONSTRAINT webhook_endpoints_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT webhook_endpoints_created_by_check CHECK (btrim(created_by, E' \t\r\n') <> ''),
    CONSTRAINT webhook_endpoints_types_check CHECK (cardinality(types) > 0),
    CONSTRAINT webhook_endpoints_disabled_check CHECK ((disabled_at IS NULL) = (disabled_by IS NULL)),
    CONSTRAINT webhook_endpoints_removed_check CHECK (removed_at IS NULL OR disabled_at IS NOT NULL)
);
CREATE INDEX webhook_endpoints_organisation_id ON gateway.webhook_endpoints (organisation_id, endpoint_id);

CREATE TABLE gateway.alert_sources (
    alert_source_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    scheme text COLLATE "C" NOT NULL,
    cameras text[] NOT NULL,
    mapping jsonb NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    removed_at bigint,
    removed_by text,
    CONSTRAINT alert_sources_pkey PRIMARY KEY (alert_source_id),
    CONSTRAINT alert_sources_alert_source_id_organisation_id_key UNIQUE (alert_source_id, organisation_id),
    CONSTRAINT alert_sources_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT alert_sources_name_check CHECK (btrim(name, E' \t\r\n') <> ''),
    CONSTRAINT alert_sources_created_by_check CHECK (btrim(created_by, E' \t\r\n') <> ''),
    CONSTRAINT alert_sources_scheme_check CHECK (scheme IN ('standard', 'body')),
    CONSTRAINT alert_sources_cameras_check CHECK (cardinality(cameras) > 0),
    CONSTRAINT alert_sources_removed_check CHECK ((removed_at IS NULL) = (removed_by IS NULL))
);
CREATE INDEX alert_sources_organisation_id ON gateway.alert_sources (organisation_id, alert_source_id);

CREATE TABLE gateway.webhook_secrets (
    secret_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    endpoint_id uuid,
    alert_source_id uuid,
    sealed bytea NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    ends_at bigint,
    CONSTRAINT webhook_secrets_pkey PRIMARY KEY (secret_id),
    CONSTRAINT webhook_secrets_endpoint_id_organisation_id_fkey
        FOREIGN KEY (endpoint_id, organisation_id) REFERENCES gateway.webhook_endpoints (endpoint_id, organisation_id),
    CONSTRAINT webhook_secrets_alert_source_id_organisation_id_fkey
        FOREIGN KEY (alert_source_id, organisation_id)
        REFERENCES gateway.alert_sources (alert_source_id, organisation_id),
    CONSTRAINT webhook_secrets_created_by_check CHECK (btrim(created_by, E' \t\r\n') <> ''),
    CONSTRAINT webhook_secrets_owner_check CHECK (num_nonnulls(endpoint_id, alert_source_id) = 1)
);
CREATE INDEX webhook_secrets_endpoint_id ON gateway.webhook_secrets (endpoint_id, created_at);
CREATE INDEX webhook_secrets_alert_source_id ON gateway.webhook_secrets (alert_source_id, created_at);

CREATE TABLE gateway.webhook_deliveries (
    delivery_id uuid NOT NULL DEFAULT uuidv7(),
    organisation_id text COLLATE "C" NOT NULL,
    endpoint_id uuid NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    created_at bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'PENDING',
    attempts integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    ended_at bigint,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (delivery_id),
    CONSTRAINT webhook_deliveries_delivery_id_organisation_id_key UNIQUE (delivery_id, organisation_id),
    CONSTRAINT webhook_deliveries_endpoint_id_message_id_key UNIQUE (endpoint_id, message_id),
    CONSTRAINT webhook_deliveries_endpoint_id_organisation_id_fkey
        FOREIGN KEY (endpoint_id, organisation_id) REFERENCES gateway.webhook_endpoints (endpoint_id, organisation_id),
    CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
    CONSTRAINT webhook_deliveries_ended_at_check CHECK ((state = 'PENDING') = (ended_at IS NULL))
);
CREATE INDEX webhook_deliveries_due ON gateway.webhook_deliveries (next_attempt_at) WHERE state = 'PENDING';
CREATE INDEX webhook_deliveries_leased ON gateway.webhook_deliveries (endpoint_id, leased_until) WHERE state = 'PENDING';
CREATE INDEX webhook_deliveries_ended ON gateway.webhook_deliveries (ended_at) WHERE state <> 'PENDING';
CREATE INDEX webhook_deliveries_organisation_id ON gateway.webhook_deliveries (organisation_id, delivery_id);

CREATE TABLE gateway.webhook_attempts (
    delivery_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    attempted_at bigint NOT NULL,
    milliseconds integer NOT NULL,
    status integer,
    problem text NOT NULL,
    answer text NOT NULL,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number),
    CONSTRAINT webhook_attempts_delivery_id_organisation_id_fkey
        FOREIGN KEY (delivery_id, organisation_id)
        REFERENCES gateway.webhook_deliveries (delivery_id, organisation_id) ON DELETE CASCADE
);

CREATE TABLE gateway.webhook_cursors (
    organisation_id text COLLATE "C" NOT NULL,
    next_sequence bigint NOT NULL,
    next_look_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_cursors_pkey PRIMARY KEY (organisation_id),
    CONSTRAINT webhook_cursors_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT webhook_cursors_next_sequence_check CHECK (next_sequence > 0)
);

CREATE TABLE gateway.alerts_seen (
    alert_source_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    CONSTRAINT alerts_seen_pkey PRIMARY KEY (alert_source_id, message_id),
    CONSTRAINT alerts_seen_alert_source_id_organisation_id_fkey
        FOREIGN KEY (alert_source_id, organisation_id)
        REFERENCES gateway.alert_sources (alert_source_id, organisation_id)
);
CREATE INDEX alerts_seen_received_at ON gateway.alerts_seen (received_at);

SELECT gateway.never_remove(name) FROM unnest(ARRAY['webhook_endpoints', 'alert_sources']) AS name;
SELECT gateway.separate(name)
  FROM unnest(ARRAY['webhook_endpoints', 'alert_sources', 'webhook_secrets', 'webhook_deliveries', 'webhook_attempts',
                    'webhook_cursors', 'alerts_seen']) AS name;

GRANT SELECT, INSERT ON gateway.webhook_endpoints, gateway.alert_sources, gateway.webhook_secrets, gateway.alerts_seen
   TO indelible_gateway;
GRANT UPDATE (url, types, description, disabled_at, disabled_by, disabled_reason, removed_at)
   ON gateway.webhook_endpoints TO indelible_gateway;
GRANT UPDATE (name, cameras, mapping, removed_at, removed_by) ON gateway.alert_sources TO indelible_gateway;
GRANT UPDATE (ends_at) ON gateway.webhook_secrets TO indelible_gateway;
-- A delivery may be put in the queue again; what it says and what became of it is the worker's to write.
GRANT SELECT ON gateway.webhook_deliveries, gateway.webhook_attempts TO indelible_gateway;
GRANT UPDATE (state, tries, next_attempt_at, leased_until, ended_at) ON gateway.webhook_deliveries TO indelible_gateway;
GRANT SELECT, INSERT ON gateway.webhook_cursors TO indelible_gateway;

GRANT SELECT ON gateway.webhook_endpoints, gateway.webhook_secrets TO indelible_gateway_worker;
GRANT UPDATE (disabled_at, disabled_by, disabled_reason) ON gateway.webhook_endpoints TO indelible_gateway_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.webhook_deliveries TO indelible_gateway_worker;
GRANT SELECT, INSERT ON gateway.webhook_attempts TO indelible_gateway_worker;
GRANT SELECT, UPDATE ON gateway.webhook_cursors TO indelible_gateway_worker;
GRANT SELECT, DELETE ON gateway.alerts_seen TO indelible_gateway_worker;
