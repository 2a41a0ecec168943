-- The gateway's login roles. Roles belong to the server, not to one database, so this is run before every migration, by
-- the administrator, and changes nothing the second time. The tables are owned by indelible_owner.
--
-- indelible_gateway         answers requests from outside: under row-level security.
-- indelible_gateway_worker  relays decisions and sends webhooks of every organisation.

DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('indelible_gateway',        'NOBYPASSRLS'),
            ('indelible_gateway_worker', 'BYPASSRLS')
        ) AS role (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION %s',
                               wanted.name, wanted.options);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another migration, of another database of this server, was quicker
            END;
        END IF;
    END LOOP;
END
$roles$;
