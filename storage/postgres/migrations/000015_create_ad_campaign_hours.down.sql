-- drops-schema: 2
-- The merge of ad events writes these.
DROP VIEW ad_campaign_costs;
DROP TRIGGER ad_campaigns_changed ON ad_campaigns;
DROP TRIGGER ad_campaigns_created ON ad_campaigns;
DROP FUNCTION note_ad_campaign_change();
DROP TABLE ad_campaign_prices;
DROP TABLE ad_campaign_stale;
DROP TABLE ad_frequencies;
DROP TABLE ad_campaign_hours;
