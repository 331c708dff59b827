// Rows of the page's tables. Whatever comes from players is text, never markup.

import { money, named, pace, percent, startup, tier, wait, whole } from "./text.js";

const STAGES = [
  ["impressions", "Impressions"],
  ["starts", "Starts"],
  ["first_quartiles", "25 %"],
  ["midpoints", "50 %"],
  ["third_quartiles", "75 %"],
  ["completions", "100 %"],
  ["clicks", "Clicks"],
];

function cell(text, className = "", tag = "td") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function heading(text) {
  const element = cell(text, "name", "th");
  element.scope = "row";
  return element;
}

function linked(text, href, share) {
  // A row's name, which leads to its numbers, above a bar.
  const name = heading("");
  const link = document.createElement("a");
  link.href = href;
  link.textContent = text;
  name.append(link, bar(share));
  return name;
}

function bar(share) {
  const element = document.createElement("span");
  element.className = "bar";
  element.style.width = `${Math.min(100, Math.max(0, 100 * share))}%`;
  return element;
}

function fill(region, rows) {
  // Whoever reads a row by keyboard keeps the place: the focused link is found again by its address.
  const body = region.querySelector("tbody");
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  body.replaceChildren(...rows);
  if (focused !== null) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Contents by viewers; `tiers` maps a content to its tier, where it is known. */
export function showContents(region, contents, tiers) {
  const most = Math.max(1, ...contents.map((content) => content.viewers));
  fill(
    region,
    contents.map((content) => {
      const row = document.createElement("tr");
      const name = linked(content.name || content.content_id, `v1/live/${content.content_id}`, content.viewers / most);
      if (content.name) name.title = content.content_id;
      const known = tiers.get(content.content_id);
      row.append(name, cell(whole(content.viewers), "number"), cell(tier(known), known ? `tier tier-${known}` : "tier"));
      return row;
    }),
  );
}

/** Edges in the order of the answer; an edge that players did not name is said to be unnamed. */
export function showEdges(region, groups) {
  fill(
    region,
    groups.map((group) => {
      const row = document.createElement("tr");
      const numbers = [
        whole(group.sessions),
        startup(group.startup_ms?.p50),
        startup(group.startup_ms?.p95),
        whole(group.stalls),
        percent(group.stalled_share),
        percent(group.playback_failure_share),
      ];
      row.append(heading(group.cdn_edge || "unnamed"), ...numbers.map((text) => cell(text, "number")));
      return row;
    }),
  );
}

/** Readers of the log with their state, and why one does not run. */
export function showReaders(region, readers) {
  fill(
    region,
    readers.map((reader) => {
      const row = document.createElement("tr");
      const state = cell("", "reason");
      const badge = document.createElement("span");
      badge.className = `badge badge-${reader.state}`;
      badge.textContent = reader.state.replaceAll("_", " ");
      state.append(badge);
      if (reader.reason) state.append(" ", reader.reason);
      row.append(heading(reader.reader), state, cell(wait(reader.lag_s), "number"));
      return row;
    }),
  );
}

/** Campaigns in the order of the answer; the bar is the share of the budget that is spent. */
export function showCampaigns(region, campaigns) {
  fill(
    region,
    campaigns.map((campaign) => {
      const row = document.createElement("tr");
      const { campaign_id: id, currency, budget_total: budget } = campaign;
      const share = Number(budget) > 0 ? campaign.spent / budget : 0;
      const [told, word] = pace(campaign.pace);
      const speed = cell(word ? "" : told, "number");
      if (word) {
        const badge = document.createElement("span");
        badge.className = `badge badge-${word}`;
        badge.textContent = told;
        speed.append(badge);
      }
      const numbers = [
        whole(campaign.impressions),
        money(campaign.spent, currency),
        money(campaign.remaining_total, currency),
      ];
      const name = linked(named(campaign), `v1/campaigns/${id}`, share);
      row.append(name, speed, ...numbers.map((text) => cell(text, "number")));
      return row;
    }),
  );
}

/** How far the ads of these campaigns were watched, together, from the impression to the click. */
export function showFunnel(region, campaigns) {
  const sums = STAGES.map(([figure]) => campaigns.reduce((sum, campaign) => sum + campaign[figure], 0));
  const most = Math.max(1, ...sums);
  fill(
    region,
    STAGES.map(([, text], place) => {
      const row = document.createElement("tr");
      const name = heading(text);
      name.append(bar(sums[place] / most));
      row.append(name, cell(whole(sums[place]), "number"), cell(percent(sums[place] / sums[0]), "number"));
      return row;
    }),
  );
}
