// What a viewer does, whichever player it is: the recipe of README is run as it stands there, then a story is played.
// `window.state` says how far it is, `window.did` what was done and when, `window.media` what the element told.
export const wanted = Object.fromEntries(new URLSearchParams(location.search));
export const video = document.querySelector("video");
window.state = "asked";
window.did = [];
window.media = [];
const note = (list, what) => list.push([what, Date.now(), Math.round(video.currentTime * 1000) / 1000]);
const told = ["play", "playing", "pause", "seeking", "seeked", "waiting", "resize", "ended", "error"];
for (const name of told) video.addEventListener(name, () => note(window.media, name + (video.error?.message ?? "")));

export function loaded(url) {
  const script = document.createElement("script");
  script.src = url;
  return new Promise((done, failed) => {
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
}

/** The names that a recipe makes, by running it. */
export const run = async () => (await import(`/recipe/${wanted.viewing}`));

const later = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (seen) => {
  while (!seen()) await later(20);
};
const at = (second) => until(() => video.currentTime >= second);

/** Of the film that players load ahead: no segment that is held back is asked for before the rung has changed. */
export const AHEAD_S = 4;
const PAUSED_MS = 700;
const STALLED_MS = 1500;
const RESTED_MS = 1500;

const stories = {
  async whole(player) {
    await begin(player);
    await at(1);
    note(window.did, "rung");
    player.rung(1);
    await at(2);
    await rest();
    await at(2.5);
    note(window.did, "seek");
    video.currentTime = 5;
    await until(() => window.media.some(([name]) => name === "waiting") && video.currentTime > 6 && video.readyState < 3);
    note(window.did, "stalled");
    await later(STALLED_MS);
    await fetch(`/let-go/${wanted.viewing}`);
    note(window.did, "let go");
    await until(() => video.ended);
    await later(RESTED_MS);
  },
  async fails(player) {
    window.failed = await Promise.race([player.failed, begin(player).then(() => player.failed, ({ code }) => code)]);
    note(window.did, "failed");
    await later(RESTED_MS);
  },
  async anew(player) {
    await begin(player);
    await at(1);
    note(window.did, "anew");
    player.anew();
    await at(2);
    await rest();
    await at(3);
  },
  async left(player) {
    await begin(player);
    await at(2);
    await rest();
    await at(4);
  },
};

async function begin(player) {
  note(window.did, "load");
  await player.load();
  note(window.did, "play");
  video.play().catch(() => {});
  window.state = "playing";
  await until(() => window.media.some(([name]) => name === "playing"));
}

async function rest() {
  note(window.did, "pause");
  video.pause();
  await later(PAUSED_MS);
  note(window.did, "play");
  video.play();
}

/** Play the story that was asked for. `player`: load(), rung(number), failed: a promise of what a fatal error is called. */
export async function play(player) {
  await stories[wanted.story](player);
  window.state = "done";
}
