-- Requests that may be repeated: digests of the caller's key and of the request, and the answer for a day.
CREATE TABLE gateway.idempotency_keys (
    organisation_id text COLLATE "C" NOT NULL,
    key_sha256 bytea NOT NULL,
    request_sha256 bytea NOT NULL,
    claimed_at bigint NOT NULL,
    status integer,
    headers jsonb,
    body bytea,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organisation_id, key_sha256),
    CONSTRAINT idempotency_keys_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT idempotency_keys_digests_check CHECK (length(key_sha256) = 32 AND length(request_sha256) = 32),
    CONSTRAINT idempotency_keys_status_check CHECK (status BETWEEN 200 AND 299)
);
CREATE INDEX idempotency_keys_claimed_at ON gateway.idempotency_keys (organisation_id, claimed_at);

SELECT gateway.separate('idempotency_keys');

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.idempotency_keys TO indelible_gateway;
