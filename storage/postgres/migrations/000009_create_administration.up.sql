-- The platform's staff and the trail of what they did (spec §3.8, which leaves the columns open).

CREATE TABLE admin_users (
    id            UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    email         VARCHAR(255) NOT NULL UNIQUE,
    name          VARCHAR(100) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    role          VARCHAR(50) NOT NULL DEFAULT 'viewer'
        CHECK (role IN ('super_admin', 'admin', 'content_manager', 'ad_manager', 'support', 'analyst', 'viewer')),
    permissions   JSONB NOT NULL DEFAULT '[]',                  -- beyond those of the role
    mfa_secret    VARCHAR(255),                                 -- encrypted by the application; null: not enrolled
    is_active     BOOLEAN NOT NULL DEFAULT TRUE,
    created_at    TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    last_login_at TIMESTAMP
);

-- Who did what to what, and how it looked before and after. The reference has no CASCADE and no SET NULL: whoever
-- has left a trail is deactivated, not deleted. Jobs act without an admin, under the name of their role.
CREATE TABLE audit_logs (
    id            UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    admin_user_id UUID REFERENCES admin_users (id),
    actor         VARCHAR(255) NOT NULL DEFAULT CURRENT_USER,   -- e-mail or job, as it was then
    action        VARCHAR(100) NOT NULL,                        -- create, update, delete, publish, refund, …
    entity_type   VARCHAR(100) NOT NULL,                        -- the table, in the singular
    entity_id     VARCHAR(255),                                 -- text: not every key is a uuid
    before        JSONB,                                        -- null: it was made
    after         JSONB,                                        -- null: it is gone
    ip_address    INET,
    user_agent    TEXT,
    created_at    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_audit_logs_admin_user_id_created_at ON audit_logs (admin_user_id, created_at DESC);
CREATE INDEX idx_audit_logs_entity_type_entity_id ON audit_logs (entity_type, entity_id, created_at DESC);
CREATE INDEX idx_audit_logs_created_at ON audit_logs (created_at);
