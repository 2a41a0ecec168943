-- The tables, as ledger/store/tables.py declares them. Run as indelible_owner, who then owns them.
--
-- Indexed identifiers are COLLATE "C": byte order is the same on every machine and for ever. An index in a language's
-- order is silently wrong after an upgrade of the system's locales, and a unique key that fails is a broken promise.

CREATE TABLE indelible.organisations (
    organisation_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT organisations_pkey PRIMARY KEY (organisation_id),
    CONSTRAINT organisations_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT organisations_name_check CHECK (length(name) BETWEEN 1 AND 200)
);

CREATE TABLE indelible.chains (
    chain_key bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    organisation_id text COLLATE "C" NOT NULL,
    chain_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    opened_at timestamptz NOT NULL,
    CONSTRAINT chains_pkey PRIMARY KEY (chain_key),
    CONSTRAINT chains_organisation_id_chain_id_key UNIQUE (organisation_id, chain_id),
    CONSTRAINT chains_organisation_id_fkey
        FOREIGN KEY (organisation_id) REFERENCES indelible.organisations (organisation_id),
    CONSTRAINT chains_chain_id_check CHECK (chain_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT chains_type_check
        CHECK (type IN ('session', 'operations') AND (type = 'operations') = (chain_id = 'operations'))
);

-- Columns of fixed width first: less padding in the table that has nearly all the rows.
CREATE TABLE indelible.events (
    chain_key bigint NOT NULL,
    sequence bigint NOT NULL,
    occurred_at bigint NOT NULL,
    append_count integer,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    organisation_id text NOT NULL,
    kind text NOT NULL,
    idempotency_key text COLLATE "C",
    payload text NOT NULL,
    payload_jsonb jsonb GENERATED ALWAYS AS (payload::jsonb) VIRTUAL,
    CONSTRAINT events_chain_key_sequence_key UNIQUE (chain_key, sequence),
    CONSTRAINT events_chain_key_prev_hash_key UNIQUE (chain_key, prev_hash)
);
CREATE UNIQUE INDEX events_chain_key_idempotency_key_key
    ON indelible.events (chain_key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX events_checkpoints
    ON indelible.events (chain_key, sequence) INCLUDE (kind) WHERE kind IN ('chain.checkpointed', 'chain.closed');

CREATE TABLE indelible.disclosures (
    chain_key bigint NOT NULL,
    organisation_id text NOT NULL,
    sequence bigint NOT NULL,
    disclosure text NOT NULL,
    CONSTRAINT disclosures_chain_key_sequence_fkey
        FOREIGN KEY (chain_key, sequence) REFERENCES indelible.events (chain_key, sequence)
);
CREATE INDEX disclosures_chain_key_sequence ON indelible.disclosures (chain_key, sequence);

CREATE TABLE indelible.outbox (
    outbox_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    organisation_id text NOT NULL,
    chain_key bigint NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence bigint NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id)
);

CREATE TABLE indelible.anchor_jobs (
    organisation_id text NOT NULL,
    chain_key bigint NOT NULL,
    sequence bigint NOT NULL,
    digest bytea NOT NULL,
    backend text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    requested_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    next_attempt_at timestamptz NOT NULL,
    leased_until timestamptz,
    lease_owner text,
    state jsonb,
    CONSTRAINT anchor_jobs_pkey PRIMARY KEY (chain_key, sequence, backend, authority),
    CONSTRAINT anchor_jobs_chain_key_sequence_fkey
        FOREIGN KEY (chain_key, sequence) REFERENCES indelible.events (chain_key, sequence)
);
CREATE INDEX anchor_jobs_next_attempt_at ON indelible.anchor_jobs (next_attempt_at);

CREATE TABLE indelible.anchors (
    organisation_id text NOT NULL,
    chain_key bigint NOT NULL,
    sequence bigint NOT NULL,
    digest bytea NOT NULL,
    backend text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    response bytea NOT NULL,
    requested_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    obtained_at timestamptz NOT NULL,
    anchored_at timestamptz NOT NULL,
    CONSTRAINT anchors_pkey PRIMARY KEY (chain_key, sequence, backend, authority),
    CONSTRAINT anchors_chain_key_sequence_fkey
        FOREIGN KEY (chain_key, sequence) REFERENCES indelible.events (chain_key, sequence)
);

CREATE TABLE indelible.anchor_evidence (
    chain_key bigint NOT NULL,
    organisation_id text NOT NULL,
    sequence bigint NOT NULL,
    backend text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    der bytea NOT NULL,
    CONSTRAINT anchor_evidence_chain_key_sequence_backend_authority_fkey
        FOREIGN KEY (chain_key, sequence, backend, authority)
        REFERENCES indelible.anchors (chain_key, sequence, backend, authority),
    CONSTRAINT anchor_evidence_kind_check CHECK (kind IN ('certificate', 'crl', 'ocsp'))
);
CREATE INDEX anchor_evidence_anchor ON indelible.anchor_evidence (chain_key, sequence, backend, authority);

CREATE TABLE indelible.verify_links (
    link_id uuid NOT NULL,
    organisation_id text NOT NULL,
    chain_key bigint NOT NULL,
    head_sequence bigint NOT NULL,
    head bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT verify_links_pkey PRIMARY KEY (link_id),
    CONSTRAINT verify_links_chain_key_head_sequence_fkey
        FOREIGN KEY (chain_key, head_sequence) REFERENCES indelible.events (chain_key, sequence)
);

CREATE TABLE indelible.verify_link_revocations (
    link_id uuid NOT NULL,
    organisation_id text NOT NULL,
    revoked_by text NOT NULL,
    revoked_at timestamptz NOT NULL,
    CONSTRAINT verify_link_revocations_pkey PRIMARY KEY (link_id),
    CONSTRAINT verify_link_revocations_link_id_fkey
        FOREIGN KEY (link_id) REFERENCES indelible.verify_links (link_id)
);
