"""What a person sees on the page, read out of it at one moment."""

from __future__ import annotations

from typing import Any, Final

from tests.browser.chromium import Page

SEE: Final = """(() => {
  const text = (id) => document.getElementById(id).textContent;
  const rows = (id) => document.getElementById(id).checkVisibility()
    ? [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.children].map((cell) => cell.textContent))
    : null;
  const note = (id) => document.getElementById(id).checkVisibility() ? text(id) : "";
  const ids = ["state", "as-of", "viewers", "viewers-note", "received", "stored", "delivered", "lag", "lag-note"];
  return {
    ...Object.fromEntries(ids.map((id) => [id, text(id)])),
    live: document.body.dataset.live ?? "",
    gateway: document.body.dataset.gateway ?? "",
    contents: rows("contents"), "contents-note": note("contents-note"), "tiers-note": note("tiers-note"),
    edges: rows("edges"), "edges-note": note("edges-note"),
    readers: rows("readers"),
    campaigns: rows("campaigns"), funnel: rows("funnel"), "ads-note": note("ads-note"),
    captions: [...document.querySelectorAll("figcaption")].map((caption) => caption.textContent),
    spool: text("spool"),
    meter: document.getElementById("spool-meter").value,
    old: document.body.classList.contains("old"),
  };
})()"""

# Every text whose contrast with what is behind it is below WCAG's AA: 4.5, of large text 3.
FAINT: Final = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.slice(0, 3).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return channels(getComputedStyle(document.documentElement).backgroundColor);
  };
  const faint = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.matches("option, noscript, noscript *")) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(channels(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${element.tagName} ${element.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return { seen, faint };
})()"""


def see(page: Page) -> dict[str, Any]:
    """Everything that is told, by the id of its place; tables as rows of texts, None while they are not shown."""
    told: dict[str, Any] = page.evaluate(SEE)
    return told


def number(text: str) -> float:
    """What a text of the page says: 12,345 is 12345."""
    return float(text.replace(",", ""))
