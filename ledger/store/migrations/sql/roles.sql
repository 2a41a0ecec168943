-- The ledger's roles. They belong to the server, not to one database, so this is run before every migration, by the
-- administrator, and changes nothing the second time.
--
-- indelible_owner    owns every table and logs in never.
-- indelible_runtime  answers callers: reads, under row-level security.
-- indelible_append   writes events: may insert and read, nothing else. It bypasses row-level security, because
--                    PostgreSQL refuses COPY FROM under it; the insert guard compares organisations in its place.
-- indelible_worker   relay, anchoring and scheduler, which serve every organisation: reads, and takes away what is done.

DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('indelible_owner',   'NOLOGIN NOBYPASSRLS'),
            ('indelible_runtime', 'LOGIN NOBYPASSRLS'),
            ('indelible_append',  'LOGIN BYPASSRLS'),
            ('indelible_worker',  'LOGIN BYPASSRLS')
        ) AS role (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION %s',
                               wanted.name, wanted.options);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another migration, of another database of this server, was quicker
            END;
        END IF;
    END LOOP;
    -- An administrator who is not a superuser must be a member of the owner to act for it.
    IF NOT pg_catalog.pg_has_role(current_user, 'indelible_owner', 'SET') THEN
        EXECUTE format('GRANT indelible_owner TO %I WITH SET TRUE', current_user);
    END IF;
END
$roles$;
