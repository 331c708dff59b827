// What the page's <video> does, by its own events, and what the page keeps: told to nobody but the test.
"use strict";
window.log = [];
{
  const video = document.querySelector("video");
  const types = ["play", "playing", "waiting", "pause", "seeking", "seeked", "resize", "ended", "error", "emptied"];
  for (const type of types) {
    const note = () => {
      window.log.push({
        type,
        at: Date.now(),
        position: video.currentTime,
        lines: video.videoHeight,
        inside: video.seeking,
        over: video.ended,
      });
    };
    video.addEventListener(type, note, true);
  }
  window.video = video;
  const opened = (use) =>
    new Promise((done) => {
      const asked = indexedDB.open("streamverse");
      asked.onupgradeneeded = () => asked.transaction.abort(); // there is none, and none is to be made
      asked.onerror = () => done([]);
      asked.onsuccess = () => {
        const database = asked.result;
        const transaction = database.transaction("events", "readwrite");
        const all = transaction.objectStore("events").getAll();
        all.onsuccess = () => use(transaction.objectStore("events"), all.result);
        transaction.oncomplete = () => {
          database.close();
          done(all.result);
        };
      };
    });
  window.keptOnDevice = () => opened(() => {});
  window.ageKept = (ms) => opened((store, all) => all.forEach((record) => store.put({ ...record, at: record.at - ms })));
}
