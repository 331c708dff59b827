// Tells a StreamVerse gateway what a <video> does. Types are in streamverse.d.ts; served at /sdk/v1.js, without comments.
//
//     import { attach } from "https://ingest.example/sdk/v1.js";
//     attach(document.querySelector("video"), { key: "…", contentId: "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11" });
//
// An event is made once, with its id, sequence number and time. It stays in memory, and but for heartbeats in IndexedDB,
// until a gateway has answered for it; sent again it is the same row, so whatever is in doubt is sent again.

const BATCH_MAX = 20; // events in a request
const BATCH_MS = 2e3; // that an event waits for company
const BYTES_MAX = 6e4; // of a request: what beacons and keepalive have under way is bounded at 64 KiB together
const KEPT_MAX = 1e3; // events
const KEPT_MS = 14 * 864e5;
const ABANDONED_MS = 6e4; // without Web Locks: events claimed longer ago are nobody's
const BACKOFF_MS = 1e3;
const BACKOFF_MAX_MS = 6e4;
const TOLD_MAX_MS = 36e5; // a timer of more than 2^31 ms is none
const ANSWER_MS = 3e4;
const SETTLED_MS = 1e3; // that choosing among sources takes at most
const AGAIN = [0, 408, 429, 502, 503, 504]; // 0: no answer
const RUNGS = [360, 480, 720, 1080, 1440, 2160];
const ERRORS = ["", "ABORTED", "NETWORK", "DECODE", "SRC_NOT_SUPPORTED"]; // MediaError, by its code

const IDLE = 0;
const STARTING = 1; // asked to play
const PAUSED = 2;
const OVER = 3; // completed, failed or stopped
const PLAYING = 4; // from here on somebody watches
const STALLED = 5;
const SEEKING = 6;

const now = () => performance.now();

// randomUUID is of secure contexts alone.
const uuid = () =>
  crypto.randomUUID?.() ??
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
  );

// By lines of 16:9, so that a wide film is of the quality it was encoded for; odd ladders are called by their lines.
const qualityOf = ({ videoWidth, videoHeight }) => {
  const long = Math.max(videoWidth, videoHeight);
  const lines = Math.round(Math.max(Math.min(videoWidth, videoHeight), (long * 9) / 16));
  const rung = RUNGS.find((rung) => Math.abs(rung - lines) < rung / 20) ?? lines;
  return rung ? (rung === 2160 ? "4k" : `${rung}p`) : undefined;
};

// ── What is kept on the device: records {id: [time, uuid], to, by, at, session, text} ───────────────────────────────

let database;
// What `use(store, found)` put into `found`, once its transaction is through; undefined where nothing can be kept.
const kept = (use) =>
  (database ??= new Promise((done, fail) => {
    const asked = indexedDB.open("streamverse", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("events", { keyPath: "id" });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = fail;
  }))
    .then(
      (opened) =>
        new Promise((done, fail) => {
          const transaction = opened.transaction("events", "readwrite");
          const found = [];
          transaction.oncomplete = () => done(found);
          transaction.onabort = fail;
          use(transaction.objectStore("events"), found);
        }),
    )
    .catch(() => {});

const keep = (record) =>
  kept((store) => {
    store.put(record);
    store.getAllKeys().onsuccess = ({ target }) =>
      target.result.slice(0, -KEPT_MAX).forEach((key) => store.delete(key));
  });

const forget = (records) => kept((store) => records.forEach(({ id }) => store.delete(id)));

export const attach = (
  video,
  {
    url = new URL("..", import.meta.url).href,
    key,
    contentId,
    profileId,
    sessionId = uuid(),
    device,
    platform,
    cdn,
    player,
    appVersion,
    metadata,
    test,
    heartbeatS = 10,
    consent = true,
  },
) => {
  const to = url.replace(/\/*$/, "/v1/events");
  const door = to + (key ? `?key=${encodeURIComponent(key)}` : ""); // what was kept under another key goes there, too
  const by = uuid();
  let queue = []; // records that no gateway has answered for
  let sending; // those of them in the request under way
  let timer;
  let resting; // until the timer, after a failure
  let told; // Retry-After, in ms, while it stands
  let attempt = 0;
  let off; // this session does not report any more
  let release; // lets go of the lock that says that this page lives

  let state = IDLE;
  let since = 0; // when playing was asked for, or the stall began
  let seeks;
  let sequence = 0;
  let bitrate;
  let quality = qualityOf(video);

  const own = ({ session }) => session === sessionId;

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const body = (records) => `{"sent_at":${Date.now()},"events":[${records.map(({ text }) => text)}]}`;

  const fitting = (records, most) => {
    let bytes = 0;
    return records.slice(0, most).filter(({ text }, n) => (bytes += new Blob([text]).size + 1) < BYTES_MAX || !n);
  };

  const later = (ms, rest) => {
    clearTimeout(timer);
    resting = rest;
    timer = setTimeout(() => {
      resting = timer = told = 0;
      send();
    }, ms);
  };

  const send = async () => {
    if (sending || resting || !queue.length) return;
    clearTimeout(timer);
    timer = 0;
    const batch = (sending = fitting(queue, BATCH_MAX));
    const text = body(batch);
    let status = 0;
    try {
      const answer = await fetch(door, {
        method: "POST",
        body: text, // text/plain: no preflight
        credentials: "omit",
        keepalive: text.length < BYTES_MAX,
        signal: AbortSignal.timeout?.(ANSWER_MS),
      });
      status = answer.status;
      told = Math.min(answer.headers.get("Retry-After") * 1e3, TOLD_MAX_MS);
    } catch {}
    sending = undefined;
    if (AGAIN.includes(status)) {
      const most = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** attempt++);
      later(Math.max(told || 0, Math.random() * most), true);
      return;
    }
    attempt = told = 0;
    queue = queue.filter((record) => !batch.includes(record));
    forget(batch);
    if (status === 410 && batch.some(own)) end();
    if (queue.length) await send();
    else if (off) release?.();
  };

  // A try without an answer: what it took is sent again if the page lives on, or by the next one.
  const beacon = () => {
    const batch = fitting(
      queue.filter((record) => !record.beaconed && !sending?.includes(record)),
      KEPT_MAX,
    );
    if (!told && batch.length && navigator.sendBeacon(door, body(batch))) batch.forEach((record) => (record.beaconed = 1));
  };

  const push = (event, agoMs = 0) => {
    if (off || !consent) return;
    const at = Date.now();
    let text;
    try {
      text = JSON.stringify({ ...event, occurred_at: at - agoMs });
    } catch (error) {
      console.error(error); // metadata that is no JSON costs its own event
      return;
    }
    const beat = event.event_type === "heartbeat";
    const record = { id: [at, event.event_id ?? uuid()], to, by, at, session: sessionId, text, beat };
    if (!beat) keep(record);
    if (queue.push(record) > KEPT_MAX) queue.splice(Math.max(0, queue.findIndex(({ beat }) => beat)), 1);
    if (resting) return;
    if (event.event_type === "play" || queue.length >= BATCH_MAX) send();
    else if (!timer) later(BATCH_MS);
  };

  // What pages that are gone, or events that they could not send, have left.
  const adopt = async () => {
    const locks = navigator.locks;
    if (locks) {
      await new Promise((held) =>
        locks
          .request(by, () => {
            held();
            return new Promise((done) => (release = done));
          })
          .catch(held),
      );
    }
    const alive = (await locks?.query())?.held.map(({ name }) => name);
    const at = Date.now();
    const found = await kept((store, found) => {
      store.delete(IDBKeyRange.upperBound([at - KEPT_MS]));
      store.getAll().onsuccess = ({ target }) => {
        for (const record of target.result) {
          if (record.to === to && (alive ? !alive.includes(record.by) : record.at < at - ABANDONED_MS)) {
            found.push({ ...record, by, at });
            store.put(found.at(-1));
          }
        }
      };
    });
    if (consent && !off && found?.length) {
      queue.push(...found);
      send();
    }
  };

  // ── What happens ──────────────────────────────────────────────────────────────────────────────────────────────────

  const ids = { session_id: sessionId, content_id: contentId, profile_id: profileId, test };

  const say = (event_type, more, agoMs) =>
    consent &&
    push(
      {
        event_id: uuid(),
        event_type,
        ...ids,
        sequence: sequence++,
        position: Math.floor(video.currentTime),
        duration: video.duration, // null, which is absent, of a live stream
        quality,
        bitrate,
        device_type: device,
        platform,
        cdn_edge: cdn,
        player,
        app_version: appVersion,
        metadata,
        ...more,
      },
      agoMs,
    );

  // From watching, or else, to another state: a stall ends with it, and is told as of its begin. So a sign of now follows.
  const become = (next) => {
    const stalled = state === STALLED;
    state = next;
    if (!stalled) return;
    const tookMs = Math.round(now() - since);
    say("buffering", { buffer_duration: tookMs }, tookMs);
    if (state === PLAYING) say("heartbeat");
  };

  const fail = (error_code, message) => {
    if (state === OVER) return;
    become(OVER);
    say("error", { error_code, metadata: message ? { ...metadata, message } : metadata });
  };

  const stop = () => {
    if (state === IDLE || state === OVER) return;
    become(OVER);
    say("stop");
  };

  const on = {
    play() {
      if (state > STARTING) return;
      state = STARTING;
      since ||= now();
    },
    playing() {
      const before = state;
      become(PLAYING);
      if (before < PLAYING) say("play", before === STARTING && { startup_ms: Math.round(now() - since) });
    },
    waiting() {
      if (state !== PLAYING || video.seeking) return;
      state = STALLED;
      since = now();
    },
    pause() {
      if (state === STARTING) since = 0; // who comes back later did not wait
      if (state < PLAYING || video.ended) return; // an end begins with a pause
      become(PAUSED);
      say("pause");
    },
    seeking() {
      // before the first play it is where to start, and behind an end a play from the beginning
      seeks = state > STARTING && (state !== OVER || video.paused);
      if (state >= PLAYING) become(SEEKING);
    },
    seeked() {
      if (seeks) say("seek");
      seeks = false;
      if (state === SEEKING && video.readyState > 2) state = PLAYING;
    },
    ended() {
      if (state < PLAYING) return;
      become(OVER);
      say("completed");
    },
    resize() {
      const before = quality;
      quality = qualityOf(video) ?? quality;
      if (quality !== before && state > STARTING && state !== OVER) say("quality_change");
    },
    canplaythrough() {
      if (state === STARTING && video.paused) state = since = IDLE; // it was not let start by itself
    },
    emptied() {
      if (state >= PLAYING) state = PAUSED; // its position is gone, too
    },
    error() {
      const { code, message } = video.error ?? {};
      if (code) fail(`MEDIA_ERR_${ERRORS[code]}`, message);
      // of a <source>: it means something once no other is left
      else setTimeout(() => video.networkState === 3 && fail(`MEDIA_ERR_${ERRORS[4]}`), SETTLED_MS);
    },
  };

  const hidden = () => document.visibilityState === "hidden" && beacon();
  const leave = () => {
    stop();
    beacon();
    release?.(); // a page that holds a lock is not kept for the way back
  };
  const online = () => {
    if (resting && !told) later(Math.random() * BACKOFF_MS); // not with all the others of the same network
  };
  const listen = (how) => {
    for (const type in on) video[how](type, on[type], true);
    document[how]("visibilitychange", hidden);
    window[how]("pagehide", leave);
    window[how]("online", online);
  };

  const beating = setInterval(() => state >= PLAYING && say("heartbeat"), heartbeatS * 1e3);

  const close = () => {
    off = true;
    clearInterval(beating);
    listen("removeEventListener");
  };
  const end = () => {
    close();
    forget(queue.filter(own));
    queue = [];
  };

  listen("addEventListener");
  if (consent) adopt().catch(() => {});
  on.error(); // before us
  if (video.autoplay || !video.paused) on.play();
  if (!video.paused && video.readyState > 2) {
    state = IDLE; // who knows since when
    on.playing();
  }

  return {
    sessionId,
    get bitrate() {
      return bitrate;
    },
    set bitrate(kbps) {
      const before = bitrate;
      bitrate = Math.round(kbps);
      if (bitrate !== before && state > STARTING && state !== OVER) say("quality_change");
    },
    error: fail,
    ad: (event, fields) => push({ type: "ad", event, ...ids, ...fields }),
    consent(given) {
      if (given === consent) return;
      consent = given;
      if (given) {
        adopt().catch(() => {});
        if (state >= PLAYING) say("play");
      } else {
        queue = [];
        kept((store) => store.clear());
        release?.();
      }
    },
    flush: send,
    async detach() {
      stop();
      close();
      await send();
      if (!queue.length) release?.();
    },
  };
};
