-- Accounts and their profiles (spec §2, §3.1).
--
-- Like every file here it is run as one simple query, by our runner and by golang-migrate's own command alike: one
-- implicit transaction, so a file that fails leaves nothing behind but the mark "dirty". No BEGIN, no COMMIT.

-- Extensions are guarded: the embedded server has no uuid-ossp and no PostGIS, a managed one may not let us make them.
-- Nothing below needs more than uuid_generate_v4(), which is made from the core function where uuid-ossp is lacking.
-- What we made ourselves carries our comment, so that the down removes that and not what was there before us.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['uuid-ossp', 'pg_trgm', 'postgis'] LOOP
        IF EXISTS (SELECT FROM pg_extension WHERE extname = wanted) THEN
            CONTINUE;
        ELSIF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = wanted) THEN
            RAISE NOTICE 'extension % is not available here and is left out', wanted;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE EXTENSION %I', wanted);
            EXECUTE format('COMMENT ON EXTENSION %I IS %L', wanted, 'made by streamverse-ingest');
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'extension % may not be made by this role and is left out', wanted;
        END;
    END LOOP;

    IF to_regprocedure('uuid_generate_v4()') IS NULL THEN
        CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
            AS 'SELECT gen_random_uuid()';
        COMMENT ON FUNCTION uuid_generate_v4() IS 'made by streamverse-ingest';
    END IF;
END $$;

CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;

-- The platform's TIMESTAMP columns are without time zone, as the spec has them: they hold the session's local time, so
-- its sessions should run in UTC. The columns of the ingest path are timestamptz and do not depend on that.
CREATE TABLE users (
    id                      UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    -- One index does both duties: it is the unique constraint, under the name that the spec gives the index.
    email                   VARCHAR(255) NOT NULL CONSTRAINT idx_users_email UNIQUE,
    username                VARCHAR(100) NOT NULL UNIQUE,
    password_hash           VARCHAR(255) NOT NULL,
    subscription_tier       VARCHAR(50) DEFAULT 'free',         -- free, basic, standard, premium, family
    subscription_status     VARCHAR(50) DEFAULT 'active',       -- active, cancelled, suspended, expired
    subscription_start_date TIMESTAMP,
    subscription_end_date   TIMESTAMP,
    payment_method_id       VARCHAR(255),
    country_code            CHAR(2),
    language                VARCHAR(10) DEFAULT 'en',
    email_verified          BOOLEAN DEFAULT FALSE,
    is_active               BOOLEAN DEFAULT TRUE,
    marketing_opt_in        BOOLEAN DEFAULT FALSE,
    created_at              TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at              TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    last_login_at           TIMESTAMP
);

CREATE INDEX idx_users_subscription ON users (subscription_tier, subscription_status);

CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

-- At most five profiles a user. A count alone is wrong: two transactions count four each and insert two. So a
-- profile sits on one of five numbered slots, and the rule is a CHECK and a UNIQUE constraint, which hold whatever
-- the isolation level and whether or not triggers run (replication, restore). The trigger only picks the slot.
CREATE TABLE profiles (
    id          UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id     UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name        VARCHAR(100) NOT NULL,
    avatar_url  VARCHAR(500),
    is_kids     BOOLEAN DEFAULT FALSE,
    language    VARCHAR(10) DEFAULT 'en',
    preferences JSONB DEFAULT '{}',                             -- autoplay, audio_language, subtitle_language
    created_at  TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at  TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    slot        SMALLINT NOT NULL,                              -- 1 to 5, given by the trigger
    CONSTRAINT profiles_at_most_five CHECK (slot BETWEEN 1 AND 5),
    CONSTRAINT profiles_user_id_slot_key UNIQUE (user_id, slot)
);

CREATE INDEX idx_profiles_user_id ON profiles (user_id);

CREATE TRIGGER update_profiles_updated_at BEFORE UPDATE ON profiles
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

-- The lock on the user's row makes writers of one user's profiles wait for each other, so that they see each
-- other's slots and nobody meets the UNIQUE constraint in vain. NO KEY UPDATE: foreign keys to the user are not
-- held up by it. (Under REPEATABLE READ the snapshot may be older than the lock; then the UNIQUE constraint
-- refuses, and a retry works.)
CREATE FUNCTION assign_profile_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.user_id = OLD.user_id THEN
        RETURN NEW;
    END IF;
    PERFORM FROM users WHERE id = NEW.user_id FOR NO KEY UPDATE;

    -- An upsert of a profile that is there already needs no new slot: it keeps its own and meets its primary key.
    IF TG_OP = 'INSERT' THEN
        SELECT slot INTO NEW.slot FROM profiles WHERE id = NEW.id AND user_id = NEW.user_id;
        IF FOUND THEN
            RETURN NEW;
        END IF;
    END IF;

    SELECT min(free) INTO NEW.slot FROM generate_series(1, 5) AS free
        WHERE NOT EXISTS (SELECT FROM profiles WHERE user_id = NEW.user_id AND slot = free);
    IF NEW.slot IS NULL THEN
        RAISE EXCEPTION 'user % has five profiles already', NEW.user_id
            USING ERRCODE = 'check_violation', TABLE = 'profiles', CONSTRAINT = 'profiles_at_most_five';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER assign_profiles_slot BEFORE INSERT OR UPDATE OF user_id ON profiles
    FOR EACH ROW EXECUTE FUNCTION assign_profile_slot();
