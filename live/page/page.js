// The page: two streams fill it every second, three routes every few. Every number is the API's.

import { ask, forgetRoutes, repeat } from "./asking.js";
import { Chart } from "./charts.js";
import { listen } from "./stream.js";
import { showCampaigns, showContents, showEdges, showFunnel, showReaders } from "./tables.js";
import { UNKNOWN, named, rate, size, timeOfDay, wait, whole } from "./text.js";

const TOP = 10;
const ADS_EVERY_MS = 5_000;
const EDGES_EVERY_MS = 5_000;
const TIERS_EVERY_MS = 10_000;
const UNSCORED_MS = 60_000; // scores are made once a minute
const SILENT_S = 15; // a reader that has not told of itself for so long is not running
const STORES = ["scylla", "postgres"]; // of playback events: the first of them that there is

const place = (id) => document.getElementById(id);
const seconds = (asOf) => Date.parse(asOf) / 1000;

function note(id, text) {
  place(id).textContent = text;
  place(id).hidden = !text;
}

// ── the state of the page ─────────────────────────────────────────────────────────────────────────────────────────
const now = { live: null, liveWhy: "", gateway: null, gatewayWhy: "", connected: { live: false, gateway: false } };

function showState() {
  let [state, text] = ["waiting", "Connecting …"];
  if (!now.connected.gateway || !now.connected.live) {
    if (now.live || now.gateway || now.liveWhy) [state, text] = ["lost", "No connection; trying again …"];
  } else if (now.gateway && !now.gateway.ready) {
    [state, text] = ["trouble", `Door closed: ${now.gateway.reasons.join(", ").replaceAll("_", " ")}`];
  } else if (now.liveWhy || now.gatewayWhy) {
    [state, text] = ["trouble", "Some numbers are not known"];
  } else if (now.live && now.gateway) {
    [state, text] = ["live", "Live"];
  }
  const shown = place("state");
  if (shown.textContent !== text) shown.textContent = text; // said aloud only when it changes
  shown.dataset.state = state;
  document.body.classList.toggle("old", state === "lost");
}

// ── who watches ───────────────────────────────────────────────────────────────────────────────────────────────────
const viewers = new Chart(place("chart-viewers"), ["viewers"], whole);
const tiers = new Map(); // content → its tier; null: none is known
const unscoredSince = new Map(); // content → when the gateway said that it has no score

function showLive(live, id) {
  Object.assign(now, { live, liveWhy: "" });
  now.connected.live = true;
  document.body.dataset.live = id;
  place("viewers").textContent = whole(live.viewers);
  note("viewers-note", "sessions playing, of all contents");
  place("as-of").textContent = timeOfDay(seconds(live.as_of));
  showContents(place("contents"), live.contents, tiers);
  note("contents-note", live.contents.length ? "" : "Nobody watches.");
  viewers.add(seconds(live.as_of), [live.viewers]);
  if (live.contents.some((content) => !tiers.has(content.content_id))) tiersNow();
  showState();
}

function showNoViewers(error) {
  Object.assign(now, { live: null, liveWhy: error.message });
  now.connected.live = true;
  delete document.body.dataset.live;
  place("viewers").textContent = UNKNOWN;
  note("viewers-note", error.message);
  showContents(place("contents"), [], tiers);
  note("contents-note", error.message);
  viewers.gap();
  showState();
}

// ── what flows ────────────────────────────────────────────────────────────────────────────────────────────────────
const events = new Chart(place("chart-events"), ["in", "delivered"], rate);

function showGateway(gateway, id) {
  Object.assign(now, { gateway, gatewayWhy: "" });
  now.connected.gateway = true;
  document.body.dataset.gateway = id;
  place("received").textContent = rate(gateway.received_per_s);
  place("stored").textContent = rate(gateway.stored_per_s);
  place("delivered").textContent = rate(gateway.delivered_per_s);
  showLag(gateway.readers);
  const { used_bytes: used, quota_bytes: quota } = gateway.spool;
  place("spool").textContent = size(used);
  place("spool-meter").value = used / quota;
  place("spool-note").textContent = `of ${size(quota)} that it may take`;
  showReaders(place("readers"), gateway.readers.map(asSeen));
  events.add(seconds(gateway.as_of), [gateway.received_per_s, gateway.delivered_per_s]);
  showState();
}

function asSeen(reader) {
  const silent = reader.age_s !== null && reader.age_s >= SILENT_S;
  return silent ? { ...reader, state: "silent", reason: `It has told nothing for ${wait(reader.age_s)}.` } : reader;
}

function showLag(readers) {
  const store = STORES.map((name) => readers.find((reader) => reader.reader === name)).find(Boolean);
  place("lag").textContent = wait(store?.lag_s);
  const others = readers.filter((reader) => reader !== store && reader.lag_s !== null);
  const most = others.length ? `; others ${wait(Math.max(...others.map((reader) => reader.lag_s)))} at most` : "";
  place("lag-note").textContent = `from disk to ${store?.reader === "scylla" ? "CQL" : "PostgreSQL"}${most}`;
}

function showNoGateway(error) {
  Object.assign(now, { gateway: null, gatewayWhy: error.message });
  now.connected.gateway = true;
  delete document.body.dataset.gateway;
  for (const id of ["received", "stored", "delivered", "lag", "spool"]) place(id).textContent = UNKNOWN;
  place("lag-note").textContent = error.message;
  events.gap();
  showState();
}

// ── what is asked for ─────────────────────────────────────────────────────────────────────────────────────────────
async function askTiers() {
  const wanted = (now.live?.contents ?? []).map((content) => content.content_id);
  for (const before of tiers.keys()) {
    if (!wanted.includes(before)) {
      tiers.delete(before);
      unscoredSince.delete(before);
    }
  }
  for (const content of wanted) {
    if (performance.now() - (unscoredSince.get(content) ?? -Infinity) < UNSCORED_MS) continue;
    try {
      const found = await ask("/v1/hotness/{content_id}", `v1/hotness/${content}`);
      tiers.set(content, found.replication_tier);
      unscoredSince.delete(content);
    } catch (error) {
      tiers.set(content, null);
      if (error.code === "unknown_content") {
        unscoredSince.set(content, performance.now());
        continue;
      }
      for (const other of wanted) tiers.set(other, null);
      note("tiers-note", `Tiers: ${error.message}`);
      return;
    }
  }
  note("tiers-note", "");
}

async function askEdges() {
  try {
    const window = place("window").value;
    const found = await ask("/v1/qoe", `v1/qoe?by=cdn_edge&window=${window}`);
    showEdges(place("edges"), found.groups);
    place("edges").hidden = !found.groups.length;
    note("edges-note", found.groups.length ? `As of ${timeOfDay(seconds(found.as_of))}.` : "No session yet.");
  } catch (error) {
    showEdges(place("edges"), []);
    place("edges").hidden = true;
    note("edges-note", error.message);
  }
}

// ── what is advertised ────────────────────────────────────────────────────────────────────────────────────────────
let campaigns = [];

async function askCampaigns() {
  try {
    const found = await ask("/v1/campaigns", `v1/campaigns?top=${TOP}`);
    campaigns = found.campaigns;
    note("ads-note", campaigns.length ? `Of all time, as of ${timeOfDay(seconds(found.as_of))}.` : "No campaign yet.");
  } catch (error) {
    campaigns = [];
    note("ads-note", error.message);
  }
  place("ads").hidden = place("ads-chosen").hidden = !campaigns.length;
  showCampaigns(place("campaigns"), campaigns);
  offerFunnels();
  showChosenFunnel();
}

function offerFunnels() {
  // Left as it is while the campaigns are the same ones: somebody may have it open.
  const select = place("ads-of");
  const [all, ...offered] = select.options;
  const same = (campaign, at) => offered[at].value === campaign.campaign_id && offered[at].textContent === named(campaign);
  if (offered.length === campaigns.length && campaigns.every(same)) return;
  const chosen = select.value;
  select.replaceChildren(all, ...campaigns.map((campaign) => new Option(named(campaign), campaign.campaign_id)));
  select.value = campaigns.some((campaign) => campaign.campaign_id === chosen) ? chosen : "";
}

function showChosenFunnel() {
  const chosen = place("ads-of").value;
  showFunnel(place("funnel"), chosen ? campaigns.filter((campaign) => campaign.campaign_id === chosen) : campaigns);
}

// ── the start ─────────────────────────────────────────────────────────────────────────────────────────────────────
function lost(which, chart) {
  if (now.connected[which]) {
    now.connected[which] = false;
    forgetRoutes();
    chart.gap();
  }
  showState();
}

const tiersNow = repeat(askTiers, TIERS_EVERY_MS);
listen(`v1/live/stream?top=${TOP}`, "live", {
  told: showLive,
  unavailable: showNoViewers,
  lost: () => lost("live", viewers),
});
listen("v1/gateway/stream", "gateway", {
  told: showGateway,
  unavailable: showNoGateway,
  lost: () => lost("gateway", events),
});
place("window").addEventListener("change", repeat(askEdges, EDGES_EVERY_MS));
repeat(askCampaigns, ADS_EVERY_MS);
place("ads-of").addEventListener("change", showChosenFunnel);
