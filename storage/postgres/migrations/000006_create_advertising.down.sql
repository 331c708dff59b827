-- drops-schema: 2
DROP TABLE ad_impressions;
DROP TABLE ad_campaigns;
