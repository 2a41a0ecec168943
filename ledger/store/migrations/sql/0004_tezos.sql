-- What the Tezos backend must not forget: which head is in which batch, and every operation that was ever signed.
--
-- These tables belong to no organisation, since heads of several may share an operation. Row-level security without a
-- policy hides them from everyone but the worker, who bypasses it.

CREATE TABLE indelible.tezos_batches (
    batch_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    authority text COLLATE "C" NOT NULL,
    root bytea NOT NULL,
    tree_size integer NOT NULL,
    formed_at timestamptz NOT NULL DEFAULT now(),
    receipt text,
    anchored_at timestamptz,
    CONSTRAINT tezos_batches_pkey PRIMARY KEY (batch_id),
    CONSTRAINT tezos_batches_root_check CHECK (length(root) = 32)
);
-- One batch at a time: the next is formed when this one has its receipt.
CREATE UNIQUE INDEX tezos_batches_open ON indelible.tezos_batches (authority) WHERE receipt IS NULL;

CREATE TABLE indelible.tezos_attempts (
    batch_id bigint NOT NULL,
    attempt integer NOT NULL,
    counter bigint NOT NULL,
    branch_level integer NOT NULL,
    operation bytea NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tezos_attempts_pkey PRIMARY KEY (batch_id, attempt),
    CONSTRAINT tezos_attempts_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES indelible.tezos_batches (batch_id)
);

CREATE TABLE indelible.tezos_heads (
    authority text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    waits_since timestamptz NOT NULL DEFAULT now(),
    batch_id bigint,
    leaf_index integer,
    CONSTRAINT tezos_heads_pkey PRIMARY KEY (authority, digest),
    CONSTRAINT tezos_heads_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES indelible.tezos_batches (batch_id),
    CONSTRAINT tezos_heads_digest_check CHECK (length(digest) = 32)
);
CREATE INDEX tezos_heads_waiting ON indelible.tezos_heads (authority, waits_since) WHERE batch_id IS NULL;
CREATE UNIQUE INDEX tezos_heads_leaves ON indelible.tezos_heads (batch_id, leaf_index) WHERE batch_id IS NOT NULL;

ALTER TABLE indelible.tezos_batches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE indelible.tezos_attempts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE indelible.tezos_heads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT ON indelible.tezos_batches, indelible.tezos_attempts, indelible.tezos_heads TO indelible_worker;
GRANT UPDATE (receipt, anchored_at) ON indelible.tezos_batches TO indelible_worker;
GRANT UPDATE (batch_id, leaf_index) ON indelible.tezos_heads TO indelible_worker;
