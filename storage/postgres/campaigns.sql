-- Every statement about campaigns but the merge's own. "-- name: what it does" begins one; storage.postgres.statement reads them.
-- Costs are asked for by arrays of ids, which PostgreSQL takes into the view ad_campaign_costs; a join it would not.

-- impatient: a table that is being altered is waited for so long, and no longer; until the transaction ends
SET LOCAL lock_timeout = '2s';

-- stale: campaigns that changed since they were summed but $2, $1 at most, held until the transaction ends. Those that somebody has
-- locked are left for the next time: nobody waits for them, and nobody who holds one waits for us
SELECT id FROM ad_campaigns WHERE id IN (SELECT campaign_id FROM ad_campaign_stale) AND id <> ALL($2::uuid[])
 ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED;

-- unmark: campaigns $1, and those that are not in the table, which are marked anew when they come into it. Only marks that can
-- be seen go, and what made them is in the sum, whose statement comes later
DELETE FROM ad_campaign_stale AS mark
 WHERE campaign_id = ANY($1::uuid[]) OR NOT EXISTS (SELECT FROM ad_campaigns WHERE id = mark.campaign_id);

-- sum: campaigns $1 are brought up to their hours
WITH figures AS (
    SELECT campaign_id, sum(impressions) AS impressions, sum(starts) AS starts, sum(completions) AS completions,
           sum(clicks) AS clicks, sum(skips) AS skips, sum(errors) AS errors
      FROM ad_campaign_hours WHERE campaign_id = ANY($1::uuid[]) GROUP BY campaign_id
), costs AS (
    SELECT campaign_id, sum(cost) AS spent FROM ad_campaign_costs WHERE campaign_id = ANY($1::uuid[]) GROUP BY campaign_id
)
UPDATE ad_campaigns AS campaign
   SET impression_count = coalesce(figures.impressions, 0), start_count = coalesce(figures.starts, 0),
       complete_count = coalesce(figures.completions, 0), click_count = coalesce(figures.clicks, 0),
       skip_count = coalesce(figures.skips, 0), error_count = coalesce(figures.errors, 0),
       spent = least(round(coalesce(costs.spent, 0), 4), 9999999999.9999)    -- what the column can hold
  FROM unnest($1::uuid[]) AS chosen (id)
  LEFT JOIN figures ON figures.campaign_id = chosen.id
  LEFT JOIN costs ON costs.campaign_id = chosen.id
 WHERE campaign.id = chosen.id;

-- today: the running day in UTC
SELECT (now() AT TIME ZONE 'UTC')::date::text;

-- every_campaign: all that there are
SELECT id FROM ad_campaigns ORDER BY id;

-- standings: of campaigns $1, as they were summed, for the ad server; remaining is NULL without a bound, below 0 when it is overspent
WITH today AS (
    SELECT campaign_id, sum(cost) AS spent FROM ad_campaign_costs
     WHERE campaign_id = ANY($1::uuid[]) AND hour >= date_trunc('day', now(), 'UTC')
       AND hour < date_trunc('day', now(), 'UTC') + interval '24 hours'
     GROUP BY campaign_id
), told AS (
    SELECT campaign.*, round(coalesce(today.spent, 0), 4) AS spent_today
      FROM ad_campaigns AS campaign LEFT JOIN today ON today.campaign_id = campaign.id
     WHERE campaign.id = ANY($1::uuid[])
)
SELECT id, impression_count AS impressions, click_count AS clicks, complete_count AS completions, spent::text,
       spent_today::text, (budget_total - spent)::text AS remaining_total,
       (budget_daily - spent_today)::text AS remaining_daily, now() AS as_of
  FROM told ORDER BY id;

-- busiest: the campaigns with most impressions in the running hour and the 23 before it, $1 at most; those without one if they are active
SELECT campaign.id
  FROM ad_campaigns AS campaign
  LEFT JOIN (SELECT campaign_id, sum(impressions) AS impressions FROM ad_campaign_hours
              WHERE hour > now() - interval '24 hours' AND hour <= now() GROUP BY campaign_id) AS recent
    ON recent.campaign_id = campaign.id
 WHERE recent.impressions > 0 OR campaign.status = 'active'
 ORDER BY coalesce(recent.impressions, 0) DESC, campaign.id LIMIT $1;

-- campaigns: what campaigns $1 reached and cost until now, by their hours; in the order of $1
WITH figures AS (
    SELECT campaign_id, sum(impressions)::bigint AS impressions, sum(starts)::bigint AS starts,
           sum(first_quartiles)::bigint AS first_quartiles, sum(midpoints)::bigint AS midpoints,
           sum(third_quartiles)::bigint AS third_quartiles, sum(completions)::bigint AS completions,
           sum(clicks)::bigint AS clicks, sum(skips)::bigint AS skips, sum(errors)::bigint AS errors,
           sum(viewables)::bigint AS viewables, sum(repeats)::bigint AS repeats, sum(implausible)::bigint AS implausible,
           sum(tests)::bigint AS tests
      FROM ad_campaign_hours WHERE campaign_id = ANY($1::uuid[]) GROUP BY campaign_id
), costs AS (
    SELECT campaign_id, round(sum(cost), 4) AS spent,
           round(sum(cost) FILTER (WHERE hour >= date_trunc('day', now(), 'UTC')
                                     AND hour < date_trunc('day', now(), 'UTC') + interval '24 hours'), 4) AS spent_today
      FROM ad_campaign_costs WHERE campaign_id = ANY($1::uuid[]) GROUP BY campaign_id
)
SELECT campaign.id, campaign.name, campaign.status, campaign.currency, campaign.pricing_model, campaign.bid_amount,
       campaign.budget_total, campaign.budget_daily,
       CASE WHEN isfinite(campaign.start_date) THEN campaign.start_date AT TIME ZONE 'UTC' END AS starts_at,
       CASE WHEN isfinite(campaign.end_date) THEN campaign.end_date AT TIME ZONE 'UTC' END AS ends_at, figures.*, costs.spent, costs.spent_today, now() AS as_of
  FROM unnest($1::uuid[]) WITH ORDINALITY AS chosen (id, place)
  JOIN ad_campaigns AS campaign ON campaign.id = chosen.id
  LEFT JOIN figures ON figures.campaign_id = chosen.id
  LEFT JOIN costs ON costs.campaign_id = chosen.id
 ORDER BY place;

-- frequency: how often profile $2 has seen campaign $1, today (in UTC) and ever
SELECT coalesce(sum(impressions) FILTER (WHERE day = (now() AT TIME ZONE 'UTC')::date), 0)::bigint AS today,
       coalesce(sum(impressions), 0)::bigint AS total
  FROM ad_frequencies WHERE campaign_id = $1 AND profile_id = $2;

-- hours: of campaign $1 those that begin at $2 or later and before $3, the first $4, each with its cost; one row without an hour when there is none,
-- and none at all when there is no such campaign
SELECT figures.*, round(costs.cost, 4) AS spent
  FROM ad_campaigns AS campaign
  LEFT JOIN ad_campaign_hours AS figures
    ON figures.campaign_id = campaign.id AND figures.hour >= $2 AND figures.hour < $3
  LEFT JOIN ad_campaign_costs AS costs ON costs.campaign_id = $1 AND costs.hour = figures.hour
 WHERE campaign.id = $1
 ORDER BY figures.hour LIMIT $4;
