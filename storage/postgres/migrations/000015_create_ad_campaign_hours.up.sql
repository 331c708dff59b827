-- What campaigns reach and cost, hour by hour, and what an ad server asks before it shows the next ad.

-- Moved by the merge of ad events, in its transaction: each figure counts in the hour of its own earliest time. Hours and
-- not days, because prices change at full hours, and a day is another one in every time zone.
--
-- No foreign key: figures of a campaign that ad_campaigns does not have (yet) are kept until it does. No CHECK: what moves
-- to another hour is a row of −1 that ON CONFLICT adds to one of +1, and a CHECK would refuse it before that.
CREATE TABLE ad_campaign_hours (
    campaign_id     UUID NOT NULL,
    hour            TIMESTAMPTZ NOT NULL,               -- when it begins; full hours in UTC
    impressions     BIGINT NOT NULL DEFAULT 0,
    starts          BIGINT NOT NULL DEFAULT 0,
    first_quartiles BIGINT NOT NULL DEFAULT 0,
    midpoints       BIGINT NOT NULL DEFAULT 0,
    third_quartiles BIGINT NOT NULL DEFAULT 0,
    completions     BIGINT NOT NULL DEFAULT 0,
    clicks          BIGINT NOT NULL DEFAULT 0,          -- impressions that were clicked, not clicks on one
    skips           BIGINT NOT NULL DEFAULT 0,
    errors          BIGINT NOT NULL DEFAULT 0,
    viewables       BIGINT NOT NULL DEFAULT 0,
    repeats         BIGINT NOT NULL DEFAULT 0,          -- events that were there already
    implausible     BIGINT NOT NULL DEFAULT 0,          -- impressions that are in none of the figures above: evidence only
    tests           BIGINT NOT NULL DEFAULT 0,          -- the same of test traffic
    PRIMARY KEY (campaign_id, hour)
) WITH (fillfactor = 50);   -- few rows, the running hour's updated with every batch

-- The busiest of the last hours. Updates stay HOT: no key of theirs changes.
CREATE INDEX idx_ad_campaign_hours_hour ON ad_campaign_hours (hour);

-- How often a profile has seen a campaign; a day is one in UTC.
CREATE TABLE ad_frequencies (
    campaign_id UUID NOT NULL,
    profile_id  UUID NOT NULL,
    day         DATE NOT NULL,
    impressions BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_id, profile_id, day)
) WITH (fillfactor = 90);

-- Campaigns whose hours, price or budget changed since they were last summed into ad_campaigns: a row with every change, in
-- its transaction. Nothing is unique here on purpose. A key would make the merge wait for whoever changes a campaign, and
-- with a mark that is there already, a change that commits behind the sum would go unnoticed.
CREATE TABLE ad_campaign_stale (
    campaign_id UUID NOT NULL
);

-- What a campaign paid from an hour on. No foreign key: hours of a campaign that was deleted keep their price.
CREATE TABLE ad_campaign_prices (
    campaign_id   UUID NOT NULL,
    from_hour     TIMESTAMPTZ NOT NULL,                 -- '-infinity': the first price, for whatever came before, too
    pricing_model VARCHAR(10) NOT NULL,
    bid_amount    DECIMAL(10,4) NOT NULL,
    currency      CHAR(3) NOT NULL,                     -- a campaign has one; changing it is a correction, no exchange
    PRIMARY KEY (campaign_id, from_hour)
);

-- An hour costs what its price was when it began, so an ad server's change is no change of what was shown already: it holds
-- from the next full hour in UTC on. clock_timestamp(), as the transaction may have begun an hour ago.
CREATE FUNCTION note_ad_campaign_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next_hour CONSTANT timestamptz := date_trunc('hour', clock_timestamp(), 'UTC') + interval '1 hour';
    is_first boolean := FALSE;
BEGIN
    INSERT INTO ad_campaign_stale (campaign_id) VALUES (NEW.id);

    IF TG_OP = 'INSERT' THEN
        INSERT INTO ad_campaign_prices (campaign_id, from_hour, pricing_model, bid_amount, currency)
        VALUES (NEW.id, '-infinity', NEW.pricing_model, NEW.bid_amount, NEW.currency)
        ON CONFLICT DO NOTHING;     -- it was deleted and is back
        is_first := FOUND;
    END IF;
    IF NOT is_first AND (TG_OP = 'INSERT' OR
        (OLD.pricing_model, OLD.bid_amount) IS DISTINCT FROM (NEW.pricing_model, NEW.bid_amount)) THEN
        INSERT INTO ad_campaign_prices (campaign_id, from_hour, pricing_model, bid_amount, currency)
        VALUES (NEW.id, next_hour, NEW.pricing_model, NEW.bid_amount, NEW.currency)
        ON CONFLICT (campaign_id, from_hour) DO UPDATE
            SET pricing_model = excluded.pricing_model, bid_amount = excluded.bid_amount;
    END IF;
    UPDATE ad_campaign_prices SET currency = NEW.currency WHERE campaign_id = NEW.id AND currency <> NEW.currency;
    RETURN NULL;
END $$;

-- For whoever may write ad_campaigns, and may know nothing of these tables; by whatever path they look for names.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_ad_campaign_change() SECURITY DEFINER SET search_path = %I, pg_temp', current_schema());
END $$;

CREATE TRIGGER ad_campaigns_created AFTER INSERT ON ad_campaigns
    FOR EACH ROW EXECUTE FUNCTION note_ad_campaign_change();

CREATE TRIGGER ad_campaigns_changed AFTER UPDATE ON ad_campaigns
    FOR EACH ROW WHEN (
        (OLD.pricing_model, OLD.bid_amount, OLD.currency, OLD.budget_total, OLD.budget_daily) IS DISTINCT FROM
        (NEW.pricing_model, NEW.bid_amount, NEW.currency, NEW.budget_total, NEW.budget_daily))
    EXECUTE FUNCTION note_ad_campaign_change();

-- Behind the triggers, whose lock on ad_campaigns lets no campaign in unseen.
INSERT INTO ad_campaign_prices (campaign_id, from_hour, pricing_model, bid_amount, currency)
SELECT id, '-infinity', pricing_model, bid_amount, currency FROM ad_campaigns;

INSERT INTO ad_campaign_stale (campaign_id) SELECT id FROM ad_campaigns;

-- Every hour with its cost, exact: sums are rounded, hours never. (× 0.001, because a division has an end.) Asked for some
-- campaigns, it reads their prices and each of their hours once.
CREATE VIEW ad_campaign_costs AS
SELECT price.campaign_id,
       hours.hour,
       price.pricing_model,
       price.bid_amount,
       price.currency,
       CASE price.pricing_model
           WHEN 'cpm' THEN hours.impressions * price.bid_amount * 0.001
           WHEN 'cpc' THEN hours.clicks * price.bid_amount
           WHEN 'cpcv' THEN hours.completions * price.bid_amount
       END AS cost
FROM (SELECT *, lead(from_hour, 1, 'infinity') OVER (PARTITION BY campaign_id ORDER BY from_hour) AS until_hour
      FROM ad_campaign_prices) AS price
JOIN ad_campaign_hours AS hours
  ON hours.campaign_id = price.campaign_id AND hours.hour >= price.from_hour AND hours.hour < price.until_hour;
