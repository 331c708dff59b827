// Numbers, sizes and times as a person reads them. Pure; what is unknown (null, undefined) is a dash.

export const UNKNOWN = "–";

const INTEGERS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const HUNDREDTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const TIERS = { 1: "global", 2: "regional", 3: "on demand" };

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** A whole number with thousands apart: 12,345. */
export function whole(value) {
  return known(value) ? INTEGERS.format(value) : UNKNOWN;
}

/** Events a second: 12,345, below ten with a tenth. */
export function rate(value) {
  if (!known(value)) return UNKNOWN;
  return value === 0 || value >= 9.95 ? INTEGERS.format(value) : TENTHS.format(value);
}

/** A share of 1 as percent: 14.3 %. */
export function percent(value) {
  return known(value) ? `${TENTHS.format(100 * value)} %` : UNKNOWN;
}

/** An amount, from decimal text, in a currency: 1,234.50 USD. */
export function money(amount, currency) {
  return typeof amount === "string" ? `${HUNDREDTHS.format(amount)} ${currency}` : UNKNOWN;
}

/** What a campaign is called; by its identifier where it has no name. */
export function named(campaign) {
  return campaign.name.trim() || campaign.campaign_id;
}

/** How fast a campaign spends, 1 is on schedule: [what is told, in a word how that is]. */
export function pace(value) {
  if (!known(value)) return [UNKNOWN, ""];
  const word = value > 1.1 ? "ahead" : value < 0.9 ? "behind" : "even";
  return [`${HUNDREDTHS.format(value)} ${word}`, word];
}

/** Bytes: 2.0 GiB. */
export function size(bytes) {
  if (!known(bytes)) return UNKNOWN;
  let unit = 0;
  while (bytes >= 1024 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit ? TENTHS.format(bytes) : INTEGERS.format(bytes)} ${SIZES[unit]}`;
}

/** Seconds of a wait: 0.3 s, 12 s, 5 min, 3 h. */
export function wait(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 9.95) return `${TENTHS.format(seconds)} s`;
  if (seconds < 120) return `${INTEGERS.format(seconds)} s`;
  if (seconds < 7200) return `${INTEGERS.format(seconds / 60)} min`;
  return `${INTEGERS.format(seconds / 3600)} h`;
}

/** Milliseconds of a start: 850 ms, 1.2 s. */
export function startup(ms) {
  if (!known(ms)) return UNKNOWN;
  return ms < 1000 ? `${INTEGERS.format(ms)} ms` : `${TENTHS.format(ms / 1000)} s`;
}

/** A tier of the platform's schema: 1 global, 2 regional, 3 on demand. */
export function tier(number) {
  return TIERS[number] ?? UNKNOWN;
}

/** The time of day where the reader is, of epoch seconds. */
export function timeOfDay(epochS) {
  return new Date(epochS * 1000).toLocaleTimeString("en-GB");
}
