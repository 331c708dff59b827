-- Campaigns and what became of every ad shown (spec §3.6, which leaves the columns open).

CREATE TABLE ad_campaigns (
    id                UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    name              VARCHAR(255) NOT NULL,
    advertiser        VARCHAR(255) NOT NULL,
    status            VARCHAR(50) NOT NULL DEFAULT 'draft'
        CHECK (status IN ('draft', 'active', 'paused', 'completed', 'cancelled')),
    ad_type           VARCHAR(50) NOT NULL DEFAULT 'pre_roll'
        CHECK (ad_type IN ('pre_roll', 'mid_roll', 'post_roll', 'overlay', 'banner')),
    creative_url      VARCHAR(1000),
    vast_tag_url      VARCHAR(1000),
    click_through_url VARCHAR(1000),
    duration          INT CHECK (duration > 0),                 -- seconds; null for overlays and banners
    -- Targeting: {"countries": ["us"], "devices": ["tv"], "genres": ["drama"], "tiers": ["free"], "hours": [18, 23]};
    -- an absent key does not narrow. Frequency is a profile's.
    targeting         JSONB NOT NULL DEFAULT '{}',
    frequency_cap     INT CHECK (frequency_cap > 0),            -- impressions a profile and day; null: no cap
    priority          INT NOT NULL DEFAULT 0,
    -- Budget, in money of `currency`.
    pricing_model     VARCHAR(10) NOT NULL DEFAULT 'cpm' CHECK (pricing_model IN ('cpm', 'cpc', 'cpcv')),
    bid_amount        DECIMAL(10,4) NOT NULL DEFAULT 0 CHECK (bid_amount >= 0),
    currency          CHAR(3) NOT NULL DEFAULT 'USD',
    budget_total      DECIMAL(12,2) CHECK (budget_total >= 0),  -- null: no bound
    budget_daily      DECIMAL(12,2) CHECK (budget_daily >= 0),
    spent             DECIMAL(14,4) NOT NULL DEFAULT 0 CHECK (spent >= 0),
    start_date        TIMESTAMP NOT NULL,
    end_date          TIMESTAMP,
    -- Performance: what the rows of ad_impressions say, moved on in the transaction that changes them. They may go down
    -- as well as up (a row erased, a test taken back), but below nothing they are a mistake.
    impression_count  BIGINT NOT NULL DEFAULT 0 CHECK (impression_count >= 0),
    start_count       BIGINT NOT NULL DEFAULT 0 CHECK (start_count >= 0),
    complete_count    BIGINT NOT NULL DEFAULT 0 CHECK (complete_count >= 0),
    click_count       BIGINT NOT NULL DEFAULT 0 CHECK (click_count >= 0),
    skip_count        BIGINT NOT NULL DEFAULT 0 CHECK (skip_count >= 0),
    error_count       BIGINT NOT NULL DEFAULT 0 CHECK (error_count >= 0),
    created_at        TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT ad_campaigns_end_after_start CHECK (end_date > start_date)
) WITH (fillfactor = 70);   -- the counts are updated with every batch

CREATE INDEX idx_ad_campaigns_status_start_date_end_date ON ad_campaigns (status, start_date, end_date);
CREATE INDEX idx_ad_campaigns_targeting ON ad_campaigns USING gin (targeting jsonb_path_ops);

-- One row an ad shown, keyed by what the player sent. The pixels of one ad arrive in any order, some twice, some a day
-- late, and a quartile pixel does not know when its impression was; hence
--   * one nullable time a VAST event, which takes the earliest: any order of arrival gives the same row;
--   * hash partitions by the key instead of months by time: every pixel finds its row without knowing more than the id;
--   * completion derived, so that it cannot disagree with the times;
--   * no foreign keys: a pixel of a campaign or profile deleted meanwhile is still true, and each key would cost a
--     lookup and a row lock on the same few campaigns for every ad of the platform.
CREATE TABLE ad_impressions (
    impression_id       UUID NOT NULL,
    campaign_id         UUID,                                   -- null until an event that names it has come
    creative_id         VARCHAR(100),
    content_id          UUID,
    profile_id          UUID,
    session_id          UUID,
    received_at         TIMESTAMPTZ NOT NULL DEFAULT now(),     -- of the first event that came
    test                BOOLEAN NOT NULL DEFAULT FALSE,         -- kept out of every number
    loaded_at           TIMESTAMPTZ,
    impression_at       TIMESTAMPTZ,
    creative_view_at    TIMESTAMPTZ,
    start_at            TIMESTAMPTZ,
    first_quartile_at   TIMESTAMPTZ,
    midpoint_at         TIMESTAMPTZ,
    third_quartile_at   TIMESTAMPTZ,
    complete_at         TIMESTAMPTZ,
    click_at            TIMESTAMPTZ,
    skip_at             TIMESTAMPTZ,
    pause_at            TIMESTAMPTZ,
    resume_at           TIMESTAMPTZ,
    rewind_at           TIMESTAMPTZ,
    mute_at             TIMESTAMPTZ,
    unmute_at           TIMESTAMPTZ,
    fullscreen_at       TIMESTAMPTZ,
    exit_fullscreen_at  TIMESTAMPTZ,
    expand_at           TIMESTAMPTZ,
    collapse_at         TIMESTAMPTZ,
    accept_invitation_at TIMESTAMPTZ,
    close_at            TIMESTAMPTZ,
    viewable_at         TIMESTAMPTZ,
    not_viewable_at     TIMESTAMPTZ,
    view_undetermined_at TIMESTAMPTZ,
    error_at            TIMESTAMPTZ,
    error_code          VARCHAR(50),
    completed           BOOLEAN GENERATED ALWAYS AS (complete_at IS NOT NULL) STORED,
    clicked             BOOLEAN GENERATED ALWAYS AS (click_at IS NOT NULL) STORED,
    -- The furthest quartile that was seen. A later one implies the earlier, whose pixel may have been lost.
    completion_percent  SMALLINT GENERATED ALWAYS AS (CASE
        WHEN complete_at IS NOT NULL THEN 100
        WHEN third_quartile_at IS NOT NULL THEN 75
        WHEN midpoint_at IS NOT NULL THEN 50
        WHEN first_quartile_at IS NOT NULL THEN 25
        ELSE 0 END) STORED,
    PRIMARY KEY (impression_id)
) PARTITION BY HASH (impression_id);

-- Rows arrive about in the order of received_at and it never changes, so a BRIN finds the old ones for retention at a
-- thousandth of a B-tree's price, and updates stay HOT. Nothing else is indexed: figures come from the merge itself.
CREATE INDEX idx_ad_impressions_received_at ON ad_impressions USING brin (received_at) WITH (autosummarize = on);

-- A row is updated about six times in half a minute, while its page is warm: room for that.
DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format('CREATE TABLE ad_impressions_p%s PARTITION OF ad_impressions
            FOR VALUES WITH (MODULUS 8, REMAINDER %s) WITH (fillfactor = 70)', part, part);
    END LOOP;
END $$;
