-- The tables, as media/records/tables.py declares them. Run as indelible_owner, who then owns them.
--
-- Indexed identifiers are COLLATE "C": byte order, the same on every machine and for ever. Times of the evidence are
-- microseconds since 1970; timestamptz is used for leases and retries only, which live by the database's own clock.

CREATE TABLE evidence.clips (
    clip_id uuid NOT NULL DEFAULT uuidv7(),
    organisation_id text COLLATE "C" NOT NULL,
    source_id text COLLATE "C" NOT NULL,
    camera_id text COLLATE "C" NOT NULL,
    incident_id text COLLATE "C" NOT NULL,
    key_prefix text COLLATE "C" NOT NULL,
    event_at bigint NOT NULL,
    asked_from bigint NOT NULL,
    asked_to bigint NOT NULL,
    session_chain_id text COLLATE "C",
    requested_by text NOT NULL,
    requested_at bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'REQUESTED',
    attempts integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    lease_owner text,
    lease_number bigint NOT NULL DEFAULT 0,
    actual_from bigint,
    actual_to bigint,
    gaps jsonb NOT NULL DEFAULT '[]',
    facts jsonb,
    failure_reason text,
    failure_message text,
    ended_at bigint,
    disposal_by text,
    disposal_reason text,
    disposal_decided_at bigint,
    disposed_at bigint,
    protection_wanted bigint NOT NULL DEFAULT 0,
    protection_done bigint NOT NULL DEFAULT 0,
    protection_change bigint NOT NULL DEFAULT 0,
    protection_enforced boolean,
    CONSTRAINT clips_pkey PRIMARY KEY (clip_id),
    CONSTRAINT clips_organisation_id_source_id_incident_id_key UNIQUE (organisation_id, source_id, incident_id),
    CONSTRAINT clips_key_prefix_key UNIQUE (key_prefix),
    CONSTRAINT clips_clip_id_organisation_id_key UNIQUE (clip_id, organisation_id),
    CONSTRAINT clips_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT clips_source_id_check CHECK (source_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT clips_camera_id_check CHECK (camera_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT clips_incident_id_check CHECK (incident_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    CONSTRAINT clips_key_prefix_check CHECK (key_prefix ~ '/[0-9]{4}/[0-9]{2}/[0-9]{2}/' AND starts_with(key_prefix, organisation_id || '/') AND right(key_prefix, length(camera_id || incident_id) + 3) = '/' || camera_id || '/' || incident_id || '/'),
    CONSTRAINT clips_window_check CHECK (asked_from < asked_to AND event_at BETWEEN asked_from AND asked_to),
    CONSTRAINT clips_requested_by_check CHECK (requested_by <> ''),
    CONSTRAINT clips_state_check CHECK (state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING', 'PRESERVED', 'FAILED', 'DISPOSING', 'DISPOSED'))
);
CREATE INDEX clips_due ON evidence.clips (next_attempt_at)
    WHERE state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING');
CREATE INDEX clips_event_at ON evidence.clips (organisation_id, event_at, clip_id);
CREATE INDEX clips_camera ON evidence.clips (organisation_id, camera_id, event_at, clip_id);
CREATE INDEX clips_incident ON evidence.clips (organisation_id, incident_id, event_at, clip_id);
CREATE INDEX clips_kept ON evidence.clips (organisation_id, ended_at) WHERE state IN ('PRESERVED', 'FAILED');
CREATE INDEX clips_disposing ON evidence.clips (next_attempt_at) WHERE state = 'DISPOSING';
CREATE INDEX clips_protection_change ON evidence.clips (organisation_id, protection_change)
    WHERE state IN ('PRESERVED', 'FAILED');
CREATE INDEX clips_unprotected ON evidence.clips (next_attempt_at)
    WHERE protection_done < protection_wanted AND state IN ('PRESERVED', 'FAILED');

CREATE TABLE evidence.artefacts (
    clip_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    media_type text NOT NULL,
    key text COLLATE "C" NOT NULL,
    version_id text COLLATE "C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    CONSTRAINT artefacts_pkey PRIMARY KEY (clip_id, name),
    CONSTRAINT artefacts_key_version_id_key UNIQUE NULLS NOT DISTINCT (key, version_id),
    CONSTRAINT artefacts_clip_id_organisation_id_fkey
        FOREIGN KEY (clip_id, organisation_id) REFERENCES evidence.clips (clip_id, organisation_id),
    CONSTRAINT artefacts_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    CONSTRAINT artefacts_role_check CHECK (role IN ('native', 'primary', 'thumbnail', 'preview', 'metadata', 'custody')),
    CONSTRAINT artefacts_size_check CHECK (size > 0),
    CONSTRAINT artefacts_sha256_check CHECK (length(sha256) = 32)
);

-- What a failed preservation left in the store, kept so that somebody can look into it.
CREATE TABLE evidence.kept_objects (
    kept_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    clip_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version_id text COLLATE "C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    found_size bigint,
    found_sha256 bytea,
    problem text NOT NULL,
    CONSTRAINT kept_objects_pkey PRIMARY KEY (kept_id),
    CONSTRAINT kept_objects_clip_id_organisation_id_fkey
        FOREIGN KEY (clip_id, organisation_id) REFERENCES evidence.clips (clip_id, organisation_id),
    CONSTRAINT kept_objects_sha256_check CHECK (length(sha256) = 32),
    CONSTRAINT kept_objects_found_sha256_check CHECK (length(found_sha256) = 32)
);
CREATE INDEX kept_objects_clip_id ON evidence.kept_objects (clip_id);
CREATE INDEX kept_objects_key ON evidence.kept_objects (key);

CREATE TABLE evidence.holds (
    hold_id uuid NOT NULL,
    clip_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    placed_by text NOT NULL,
    placed_at bigint NOT NULL,
    CONSTRAINT holds_pkey PRIMARY KEY (hold_id),
    CONSTRAINT holds_organisation_id_idempotency_key_key UNIQUE (organisation_id, idempotency_key),
    CONSTRAINT holds_hold_id_clip_id_organisation_id_key UNIQUE (hold_id, clip_id, organisation_id),
    CONSTRAINT holds_clip_id_organisation_id_fkey
        FOREIGN KEY (clip_id, organisation_id) REFERENCES evidence.clips (clip_id, organisation_id),
    CONSTRAINT holds_reason_check CHECK (btrim(reason, E' \t\r\n') <> '' AND length(reason) <= 1000),
    CONSTRAINT holds_placed_by_check CHECK (btrim(placed_by, E' \t\r\n') <> '')
);
CREATE INDEX holds_clip_id ON evidence.holds (clip_id);

-- A hold stands until there is a row here: what was placed is never changed, and the key allows one lift only.
CREATE TABLE evidence.hold_lifts (
    hold_id uuid NOT NULL,
    clip_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    lifted_by text NOT NULL,
    lifted_at bigint NOT NULL,
    CONSTRAINT hold_lifts_pkey PRIMARY KEY (hold_id),
    CONSTRAINT hold_lifts_hold_id_clip_id_organisation_id_fkey
        FOREIGN KEY (hold_id, clip_id, organisation_id) REFERENCES evidence.holds (hold_id, clip_id, organisation_id),
    CONSTRAINT hold_lifts_reason_check CHECK (btrim(reason, E' \t\r\n') <> '' AND length(reason) <= 1000),
    CONSTRAINT hold_lifts_lifted_by_check CHECK (btrim(lifted_by, E' \t\r\n') <> '')
);

CREATE TABLE evidence.accesses (
    access_id uuid NOT NULL,
    clip_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    who text NOT NULL,
    artefact text COLLATE "C",
    detail jsonb NOT NULL,
    at bigint NOT NULL,
    CONSTRAINT accesses_pkey PRIMARY KEY (access_id),
    CONSTRAINT accesses_clip_id_organisation_id_fkey
        FOREIGN KEY (clip_id, organisation_id) REFERENCES evidence.clips (clip_id, organisation_id),
    CONSTRAINT accesses_kind_check CHECK (kind IN ('link', 'download', 'export', 'verify')),
    CONSTRAINT accesses_who_check CHECK (btrim(who, E' \t\r\n') <> '')
);
CREATE INDEX accesses_clip_id ON evidence.accesses (clip_id, at);

-- The newest row of an organisation is its retention; the rows before it are the history.
CREATE TABLE evidence.retention_changes (
    change_number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    change_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    days integer NOT NULL,
    lock_mode text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    changed_by text NOT NULL,
    changed_at bigint NOT NULL,
    CONSTRAINT retention_changes_pkey PRIMARY KEY (change_number),
    CONSTRAINT retention_changes_change_id_key UNIQUE (change_id),
    CONSTRAINT retention_changes_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT retention_changes_days_check CHECK (days BETWEEN 1 AND 36500),
    CONSTRAINT retention_changes_lock_mode_check CHECK (lock_mode IN ('NONE', 'GOVERNANCE', 'COMPLIANCE')),
    CONSTRAINT retention_changes_reason_check CHECK (btrim(reason, E' \t\r\n') <> '' AND length(reason) <= 1000),
    CONSTRAINT retention_changes_changed_by_check CHECK (btrim(changed_by, E' \t\r\n') <> '')
);
CREATE INDEX retention_changes_organisation_id ON evidence.retention_changes (organisation_id, change_number);

-- What the ledger is told, written in the transaction it tells about. A row stays when it was sent, with its place on
-- the chain: the custody of a clip points there.
CREATE TABLE evidence.notes (
    note_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    organisation_id text COLLATE "C" NOT NULL,
    chain_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    subject_id uuid NOT NULL,
    clip_id uuid,
    payload text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    sequence bigint,
    event_hash bytea,
    refusal text,
    CONSTRAINT notes_pkey PRIMARY KEY (note_id),
    CONSTRAINT notes_organisation_id_chain_id_kind_subject_id_key UNIQUE (organisation_id, chain_id, kind, subject_id),
    CONSTRAINT notes_clip_id_organisation_id_fkey
        FOREIGN KEY (clip_id, organisation_id) REFERENCES evidence.clips (clip_id, organisation_id),
    CONSTRAINT notes_event_hash_check CHECK (length(event_hash) = 32),
    CONSTRAINT notes_sent_check CHECK ((sent_at IS NULL) = (sequence IS NULL) AND (sent_at IS NULL) = (event_hash IS NULL) AND (sent_at IS NULL OR refusal IS NULL))
);
CREATE INDEX notes_unsent ON evidence.notes (organisation_id, chain_id, note_id)
    WHERE sent_at IS NULL AND refusal IS NULL;
CREATE INDEX notes_clip_id ON evidence.notes (clip_id, note_id);

-- Whose turn it is with work that one worker does for all: relaying, sweeping, disposing.
CREATE TABLE evidence.turns (
    name text COLLATE "C" NOT NULL,
    owner text NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT turns_pkey PRIMARY KEY (name)
);
