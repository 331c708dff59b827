// Rows of the page's tables. Whatever comes from players is text, never markup.

import { percent, startup, tier, wait, whole } from "./text.js";

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
      const name = heading("");
      const link = document.createElement("a");
      link.href = `v1/live/${content.content_id}`;
      link.textContent = content.content_id;
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.width = `${(100 * content.viewers) / most}%`;
      name.append(link, bar);
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
