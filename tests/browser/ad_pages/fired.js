// What a page's player fires at the gateway, by whichever way a page has: before the player itself is loaded.
// Each entry: how, the URL as fired, and what became of it: null (not known yet), true or false.
"use strict";
window.fired = [];
(() => {
  const note = (how, url) => {
    const entry = { how, url: String(url), arrived: null };
    if (new URL(entry.url, location.href).pathname.startsWith("/v1/ad/")) window.fired.push(entry);
    return entry;
  };
  const fetched = window.fetch;
  window.fetch = (what, options) => {
    const entry = note("fetch", what instanceof Request ? what.url : what);
    return fetched(what, options).then(
      (answer) => ((entry.arrived = answer.ok), answer),
      (error) => {
        entry.arrived = false;
        throw error;
      },
    );
  };
  const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
  Object.defineProperty(HTMLImageElement.prototype, "src", {
    ...source,
    set(url) {
      const entry = note("image", url);
      this.addEventListener("load", () => (entry.arrived = true));
      this.addEventListener("error", () => (entry.arrived = false));
      source.set.call(this, url);
    },
  });
  const opened = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, url, ...more) {
    const entry = note("xhr", url);
    this.addEventListener("load", () => (entry.arrived = this.status === 200));
    this.addEventListener("error", () => (entry.arrived = false));
    return opened.call(this, method, url, ...more);
  };
  const beacon = navigator.sendBeacon.bind(navigator);
  navigator.sendBeacon = (url, data) => {
    const entry = note("beacon", url);
    return (entry.arrived = beacon(url, data));
  };
  const open = window.open.bind(window);
  window.open = (url, ...more) => {
    const entry = note("opened", url);
    entry.arrived = open(url, ...more) !== null;
  };
})();
