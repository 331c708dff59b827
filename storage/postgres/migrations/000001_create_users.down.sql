DROP TABLE profiles;
DROP FUNCTION assign_profile_slot();
DROP TABLE users;
DROP FUNCTION update_updated_at_column();

-- Only what the up made and nobody else has come to need: it carries our comment.
DO $$
DECLARE
    ours text;
BEGIN
    IF obj_description(to_regprocedure('uuid_generate_v4()'), 'pg_proc') = 'made by streamverse-ingest' THEN
        BEGIN
            DROP FUNCTION uuid_generate_v4();
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'uuid_generate_v4() is in use and stays';
        END;
    END IF;
    FOR ours IN SELECT extname FROM pg_extension
        WHERE obj_description(oid, 'pg_extension') = 'made by streamverse-ingest' LOOP
        BEGIN
            EXECUTE format('DROP EXTENSION %I', ours);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'extension % is in use and stays', ours;
        END;
    END LOOP;
END $$;
