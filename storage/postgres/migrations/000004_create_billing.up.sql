-- What can be subscribed to, and every payment (spec §3.4).

CREATE TABLE subscription_plans (
    id              UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    name            VARCHAR(50) NOT NULL UNIQUE,                -- the value of users.subscription_tier
    display_name    VARCHAR(100) NOT NULL,
    price           DECIMAL(10,2) NOT NULL CHECK (price >= 0),  -- a billing period
    currency        CHAR(3) NOT NULL DEFAULT 'USD',
    billing_period  VARCHAR(20) NOT NULL DEFAULT 'month' CHECK (billing_period IN ('month', 'year')),
    max_streams     INT NOT NULL CHECK (max_streams >= 1),      -- at the same time
    max_quality     VARCHAR(20) NOT NULL,                       -- as playback_events.quality: 480p, 720p, 1080p, 4k
    has_ads         BOOLEAN NOT NULL,
    downloads       BOOLEAN NOT NULL,
    max_profiles    INT NOT NULL CHECK (max_profiles BETWEEN 1 AND 5),
    stripe_price_id VARCHAR(255) UNIQUE,                        -- null: not for sale there, as free is
    is_active       BOOLEAN NOT NULL DEFAULT TRUE,              -- false: kept for those who have it, sold no more
    created_at      TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- The spec names a number of profiles for family only, and it is the ceiling of all accounts; the others step up to it.
INSERT INTO subscription_plans
    (name, display_name, price, max_streams, max_quality, has_ads, downloads, max_profiles)
VALUES
    ('free',     'Free',      0.00, 1, '720p',  TRUE,  FALSE, 1),
    ('basic',    'Basic',     4.99, 1, '1080p', TRUE,  FALSE, 2),
    ('standard', 'Standard',  9.99, 2, '1080p', FALSE, TRUE,  3),
    ('premium',  'Premium',  14.99, 4, '4k',    FALSE, TRUE,  4),
    ('family',   'Family',   19.99, 6, '4k',    FALSE, TRUE,  5);

-- No CASCADE: an account or a title with payments is closed or unpublished, not deleted, because books are kept for
-- years.
CREATE TABLE transactions (
    id                   UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id              UUID NOT NULL REFERENCES users (id),
    type                 VARCHAR(50) NOT NULL CHECK (type IN ('subscription', 'rental', 'purchase', 'ppv')),
    amount               DECIMAL(10,2) NOT NULL,
    currency             CHAR(3) NOT NULL DEFAULT 'USD',
    payment_method       VARCHAR(50),                           -- stripe, paypal, apple_pay, google_pay
    payment_provider_id  VARCHAR(255),
    status               VARCHAR(50) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'completed', 'failed', 'refunded')),
    content_id           UUID REFERENCES content (id),          -- of a rental, purchase or ppv
    subscription_plan_id UUID REFERENCES subscription_plans (id),
    metadata             JSONB DEFAULT '{}',
    created_at           TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_transactions_user_id_created_at ON transactions (user_id, created_at DESC);
CREATE INDEX idx_transactions_content_id ON transactions (content_id) WHERE content_id IS NOT NULL;
CREATE INDEX idx_transactions_subscription_plan_id ON transactions (subscription_plan_id)
    WHERE subscription_plan_id IS NOT NULL;
-- The provider's webhooks look a payment up by their own id. Not unique: a refund may come under its payment's id.
CREATE INDEX idx_transactions_payment_provider_id ON transactions (payment_provider_id)
    WHERE payment_provider_id IS NOT NULL;
