-- Recordings of sessions, as media/records/recording_tables.py declares them. Run as indelible_owner.
--
-- Order of the whole: consents of a session; a recording of it; who takes part, and in which tile; each stay of theirs
-- with the one egress that records it; the raw objects as first read; the finished files.

-- What people in a session decided about being recorded. The newest act that is no banner counts.
CREATE TABLE evidence.recording_consents (
    consent_number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    consent_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    session_chain_id text COLLATE "C" NOT NULL,
    participant text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    act text COLLATE "C" NOT NULL,
    notice text NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    recorded_by text NOT NULL,
    recorded_at bigint NOT NULL,
    CONSTRAINT recording_consents_pkey PRIMARY KEY (consent_number),
    CONSTRAINT recording_consents_consent_id_key UNIQUE (consent_id),
    CONSTRAINT recording_consents_idempotency_key UNIQUE (organisation_id, session_chain_id, idempotency_key),
    CONSTRAINT recording_consents_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT recording_consents_session_chain_id_check CHECK (session_chain_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$' AND session_chain_id <> 'operations'),
    CONSTRAINT recording_consents_participant_check CHECK (length(participant) BETWEEN 1 AND 128),
    CONSTRAINT recording_consents_role_check CHECK (role IN ('OPERATOR', 'FIELD')),
    CONSTRAINT recording_consents_act_check CHECK (act IN ('BANNER_SHOWN', 'GIVEN', 'REFUSED', 'WITHDRAWN')),
    CONSTRAINT recording_consents_notice_check CHECK (length(notice) BETWEEN 1 AND 200),
    CONSTRAINT recording_consents_recorded_by_check CHECK (btrim(recorded_by, E' \t\r\n') <> '')
);
CREATE INDEX recording_consents_participant ON evidence.recording_consents (organisation_id, session_chain_id, participant, consent_number);

CREATE TABLE evidence.recordings (
    recording_id uuid NOT NULL DEFAULT uuidv7(),
    organisation_id text COLLATE "C" NOT NULL,
    session_chain_id text COLLATE "C" NOT NULL,
    room text COLLATE "C" NOT NULL,
    operator text COLLATE "C" NOT NULL,
    composite text COLLATE "C" NOT NULL,
    annotations_expected boolean NOT NULL,
    stream_copy boolean NOT NULL,
    key_prefix text COLLATE "C" NOT NULL,
    requested_by text NOT NULL,
    started_at bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'STARTING',
    stopped_at bigint,
    stopped_by text,
    stop_reason text,
    facts jsonb,
    failure_reason text,
    failure_message text,
    ended_at bigint,
    empty_since bigint,
    last_error text NOT NULL DEFAULT '',
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    disposal_by text,
    disposal_reason text,
    disposal_decided_at bigint,
    disposed_at bigint,
    protection_wanted bigint NOT NULL DEFAULT 0,
    protection_done bigint NOT NULL DEFAULT 0,
    protection_change bigint NOT NULL DEFAULT 0,
    protection_enforced boolean,
    CONSTRAINT recordings_pkey PRIMARY KEY (recording_id),
    CONSTRAINT recordings_key_prefix_key UNIQUE (key_prefix),
    CONSTRAINT recordings_recording_id_organisation_id_key UNIQUE (recording_id, organisation_id),
    CONSTRAINT recordings_organisation_id_check CHECK (organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT recordings_session_chain_id_check CHECK (session_chain_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$' AND session_chain_id <> 'operations'),
    CONSTRAINT recordings_room_check CHECK (length(room) BETWEEN 1 AND 256),
    CONSTRAINT recordings_operator_check CHECK (length(operator) BETWEEN 1 AND 128),
    CONSTRAINT recordings_composite_check CHECK (composite IN ('FROM_FILES', 'ROOM')),
    CONSTRAINT recordings_key_prefix_check CHECK (starts_with(key_prefix, organisation_id || '/recordings/') AND key_prefix ~ '/recordings/[0-9]{4}/[0-9]{2}/[0-9]{2}/' AND right(key_prefix, 38) = '/' || recording_id || '/'),
    CONSTRAINT recordings_requested_by_check CHECK (btrim(requested_by, E' \t\r\n') <> ''),
    CONSTRAINT recordings_state_check CHECK (state IN ('STARTING', 'RECORDING', 'STOPPING', 'WAITING', 'PROCESSING', 'COMPLETED', 'FAILED', 'DISPOSING', 'DISPOSED')),
    CONSTRAINT recordings_stop_reason_check CHECK (length(stop_reason) <= 200)
);
-- One running recording of a session, and one of a room: nobody is recorded twice at the same time.
CREATE UNIQUE INDEX recordings_running_session ON evidence.recordings (organisation_id, session_chain_id)
    WHERE state IN ('STARTING', 'RECORDING');
CREATE UNIQUE INDEX recordings_running_room ON evidence.recordings (room) WHERE state IN ('STARTING', 'RECORDING');
CREATE INDEX recordings_started_at ON evidence.recordings (organisation_id, started_at, recording_id);
CREATE INDEX recordings_session ON evidence.recordings (organisation_id, session_chain_id, started_at, recording_id);
CREATE INDEX recordings_attended ON evidence.recordings (next_attempt_at)
    WHERE state IN ('STARTING', 'RECORDING', 'STOPPING');
CREATE INDEX recordings_to_process ON evidence.recordings (next_attempt_at) WHERE state IN ('WAITING', 'PROCESSING');
CREATE INDEX recordings_kept ON evidence.recordings (organisation_id, ended_at) WHERE state IN ('COMPLETED', 'FAILED');
CREATE INDEX recordings_disposing ON evidence.recordings (next_attempt_at) WHERE state = 'DISPOSING';
CREATE INDEX recordings_protection_change ON evidence.recordings (organisation_id, protection_change)
    WHERE state IN ('COMPLETED', 'FAILED');
CREATE INDEX recordings_unprotected ON evidence.recordings (next_attempt_at)
    WHERE protection_done < protection_wanted AND state IN ('COMPLETED', 'FAILED');

-- Whoever ever took part, in the tile that is theirs for as long as the recording runs, also after leaving.
CREATE TABLE evidence.recording_participants (
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    participant text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    tile integer NOT NULL,
    first_seen_at bigint NOT NULL,
    CONSTRAINT recording_participants_pkey PRIMARY KEY (recording_id, participant),
    CONSTRAINT recording_participants_recording_id_tile_key UNIQUE (recording_id, tile),
    CONSTRAINT recording_participants_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_participants_participant_check CHECK (length(participant) BETWEEN 1 AND 128),
    CONSTRAINT recording_participants_role_check CHECK (role IN ('OPERATOR', 'FIELD')),
    CONSTRAINT recording_participants_tile_check CHECK (tile BETWEEN 0 AND 6 AND (tile = 0) = (role = 'OPERATOR'))
);

-- One egress of LiveKit, of a participant or of the room's composite: written down before LiveKit is asked for it, so
-- that one which was started although no answer came is found again by its key, and not started twice.
CREATE TABLE evidence.recording_stays (
    stay_id uuid NOT NULL DEFAULT uuidv7(),
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    part text COLLATE "C" NOT NULL,
    participant text COLLATE "C",
    tile integer,
    number integer NOT NULL,
    raw_key text COLLATE "C" NOT NULL,
    asked_at bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    tried_at bigint,
    state text COLLATE "C" NOT NULL DEFAULT 'ASKED',
    egress_id text COLLATE "C",
    started_at bigint,
    stop_reason text,
    stopped_at bigint,
    outcome text COLLATE "C",
    ended_at bigint,
    error text NOT NULL DEFAULT '',
    file_started_at bigint,
    file_ended_at bigint,
    file_duration_us bigint,
    file_size bigint,
    file_location text,
    CONSTRAINT recording_stays_pkey PRIMARY KEY (stay_id),
    CONSTRAINT recording_stays_raw_key_key UNIQUE (raw_key),
    CONSTRAINT recording_stays_egress_id_key UNIQUE (egress_id),
    CONSTRAINT recording_stays_recording_id_tile_number_key UNIQUE NULLS NOT DISTINCT (recording_id, tile, number),
    CONSTRAINT recording_stays_stay_id_recording_id_organisation_id_key UNIQUE (stay_id, recording_id, organisation_id),
    CONSTRAINT recording_stays_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_stays_recording_id_participant_fkey
        FOREIGN KEY (recording_id, participant) REFERENCES evidence.recording_participants (recording_id, participant),
    CONSTRAINT recording_stays_part_check CHECK (part IN ('participant', 'composite') AND (part = 'composite') = (participant IS NULL) AND (part = 'composite') = (tile IS NULL)),
    CONSTRAINT recording_stays_number_check CHECK (number >= 1),
    CONSTRAINT recording_stays_raw_key_check CHECK (raw_key = organisation_id || '/recordings/raw/' || recording_id || '/' || coalesce(tile::text, 'composite') || '-' || number || '.mp4'),
    CONSTRAINT recording_stays_state_check CHECK (state IN ('ASKED', 'ACTIVE', 'STOPPING', 'ENDED')),
    CONSTRAINT recording_stays_outcome_check CHECK (outcome IN ('COMPLETE', 'CUT_BY_LIMIT', 'FAILED', 'ABORTED', 'NEVER_FINISHED') AND (state = 'ENDED') = (ended_at IS NOT NULL)),
    CONSTRAINT recording_stays_ended_check CHECK ((state = 'ENDED') = (outcome IS NOT NULL) AND (state <> 'ACTIVE' OR egress_id IS NOT NULL))
);
-- One egress of each participant, and one of the room, at a time.
CREATE UNIQUE INDEX recording_stays_open ON evidence.recording_stays (recording_id, participant) NULLS NOT DISTINCT
    WHERE state <> 'ENDED';

-- What LiveKit told about recordings, once each.
CREATE TABLE evidence.recording_webhooks (
    event_id text COLLATE "C" NOT NULL,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    egress_id text COLLATE "C",
    participant text COLLATE "C",
    body_sha256 bytea NOT NULL,
    received_at bigint NOT NULL,
    CONSTRAINT recording_webhooks_pkey PRIMARY KEY (event_id),
    CONSTRAINT recording_webhooks_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_webhooks_event_id_check CHECK (length(event_id) BETWEEN 1 AND 200),
    CONSTRAINT recording_webhooks_body_sha256_check CHECK (length(body_sha256) = 32)
);
CREATE INDEX recording_webhooks_recording_id ON evidence.recording_webhooks (recording_id, received_at);

-- What went wrong without ending a recording, in words.
CREATE TABLE evidence.recording_remarks (
    remark_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    text text NOT NULL,
    at bigint NOT NULL,
    CONSTRAINT recording_remarks_pkey PRIMARY KEY (remark_id),
    CONSTRAINT recording_remarks_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_remarks_text_check CHECK (length(text) BETWEEN 1 AND 500)
);
-- The same thing is said once, however often it is tried again.
CREATE UNIQUE INDEX recording_remarks_once ON evidence.recording_remarks (recording_id, text);

-- What was drawn in the session, as handed over; empty when nothing was. The first document counts.
CREATE TABLE evidence.recording_annotations (
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    document bytea NOT NULL,
    sha256 bytea NOT NULL,
    handed_by text NOT NULL,
    handed_at bigint NOT NULL,
    CONSTRAINT recording_annotations_pkey PRIMARY KEY (recording_id),
    CONSTRAINT recording_annotations_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_annotations_document_check CHECK (length(document) <= 4194304),
    CONSTRAINT recording_annotations_sha256_check CHECK (sha256 = sha256(document)),
    CONSTRAINT recording_annotations_handed_by_check CHECK (btrim(handed_by, E' \t\r\n') <> '')
);

-- Work on the files of a recording, one row a piece, leased to one worker at a time.
CREATE TABLE evidence.recording_jobs (
    job_id uuid NOT NULL DEFAULT uuidv7(),
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL DEFAULT '',
    stay_id uuid,
    state text COLLATE "C" NOT NULL DEFAULT 'OPEN',
    attempts integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    lease_owner text,
    lease_number bigint NOT NULL DEFAULT 0,
    facts jsonb,
    failure_reason text,
    failure_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at bigint,
    CONSTRAINT recording_jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT recording_jobs_recording_id_task_subject_key UNIQUE (recording_id, task, subject),
    CONSTRAINT recording_jobs_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_jobs_stay_id_recording_id_organisation_id_fkey
        FOREIGN KEY (stay_id, recording_id, organisation_id) REFERENCES evidence.recording_stays (stay_id, recording_id, organisation_id),
    CONSTRAINT recording_jobs_task_check CHECK (task ~ '^[a-z][a-z_]{0,30}$'),
    CONSTRAINT recording_jobs_state_check CHECK (state IN ('OPEN', 'DONE', 'FAILED'))
);
CREATE INDEX recording_jobs_due ON evidence.recording_jobs (next_attempt_at) WHERE state = 'OPEN';

-- Raw objects as they were first read. Of several that one egress left (uploaded twice), one counts.
CREATE TABLE evidence.recording_raws (
    raw_id uuid NOT NULL,
    stay_id uuid NOT NULL,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version_id text COLLATE "C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    counts boolean NOT NULL,
    read_at bigint NOT NULL,
    CONSTRAINT recording_raws_pkey PRIMARY KEY (raw_id),
    CONSTRAINT recording_raws_raw_id_recording_id_organisation_id_key UNIQUE (raw_id, recording_id, organisation_id),
    CONSTRAINT recording_raws_stay_id_recording_id_organisation_id_fkey
        FOREIGN KEY (stay_id, recording_id, organisation_id) REFERENCES evidence.recording_stays (stay_id, recording_id, organisation_id),
    CONSTRAINT recording_raws_size_check CHECK (size >= 0),
    CONSTRAINT recording_raws_sha256_check CHECK (length(sha256) = 32)
);
CREATE UNIQUE INDEX recording_raws_counts ON evidence.recording_raws (stay_id) WHERE counts;
CREATE INDEX recording_raws_recording_id ON evidence.recording_raws (recording_id);

-- What was decided about a raw object, once: that it is dropped, or why it is kept. One without a decision is kept.
CREATE TABLE evidence.recording_raw_ends (
    raw_id uuid NOT NULL,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    fate text COLLATE "C" NOT NULL,
    why text NOT NULL,
    decided_at bigint NOT NULL,
    CONSTRAINT recording_raw_ends_pkey PRIMARY KEY (raw_id),
    CONSTRAINT recording_raw_ends_raw_id_recording_id_organisation_id_fkey
        FOREIGN KEY (raw_id, recording_id, organisation_id) REFERENCES evidence.recording_raws (raw_id, recording_id, organisation_id),
    CONSTRAINT recording_raw_ends_fate_check CHECK (fate IN ('DROPPED', 'KEPT'))
);

-- The finished files, each read back from the store as it was sent.
CREATE TABLE evidence.recording_files (
    file_id uuid NOT NULL,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    participant text COLLATE "C",
    tile integer,
    media_type text NOT NULL,
    key text COLLATE "C" NOT NULL,
    version_id text COLLATE "C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    raw_sha256 bytea[] NOT NULL DEFAULT '{}',
    annotation_sha256 bytea,
    offset_us bigint,
    starts_at bigint,
    duration_us bigint,
    facts jsonb,
    stored_at bigint NOT NULL,
    CONSTRAINT recording_files_pkey PRIMARY KEY (recording_id, name),
    CONSTRAINT recording_files_file_id_key UNIQUE (file_id),
    CONSTRAINT recording_files_key_version_id_key UNIQUE NULLS NOT DISTINCT (key, version_id),
    CONSTRAINT recording_files_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_files_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    CONSTRAINT recording_files_role_check CHECK (role IN ('composite', 'participant', 'audio', 'video', 'annotations', 'document')),
    CONSTRAINT recording_files_size_check CHECK (size > 0),
    CONSTRAINT recording_files_sha256_check CHECK (length(sha256) = 32),
    CONSTRAINT recording_files_annotation_sha256_check CHECK (length(annotation_sha256) = 32)
);

CREATE TABLE evidence.recording_accesses (
    access_id uuid NOT NULL,
    recording_id uuid NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    who text NOT NULL,
    file text COLLATE "C",
    detail jsonb NOT NULL,
    at bigint NOT NULL,
    CONSTRAINT recording_accesses_pkey PRIMARY KEY (access_id),
    CONSTRAINT recording_accesses_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id),
    CONSTRAINT recording_accesses_kind_check CHECK (kind IN ('link', 'download', 'export', 'verify')),
    CONSTRAINT recording_accesses_who_check CHECK (btrim(who, E' \t\r\n') <> '')
);
CREATE INDEX recording_accesses_recording_id ON evidence.recording_accesses (recording_id, at);

-- Notes about recordings are found by them.
ALTER TABLE evidence.notes
    ADD COLUMN recording_id uuid,
    ADD CONSTRAINT notes_recording_id_organisation_id_fkey
        FOREIGN KEY (recording_id, organisation_id) REFERENCES evidence.recordings (recording_id, organisation_id);
CREATE INDEX notes_recording_id ON evidence.notes (recording_id, note_id);
