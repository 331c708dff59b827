// A player of its own: a film of one-second pieces by Media Source Extensions, two seconds ahead, in the rung it is told.
// The query says which module reports it (?module=), how (?options=, JSON), and what this browser lacks (?bare).
const wanted = new URLSearchParams(location.search);
if (wanted.has("bare")) {
  Object.defineProperty(navigator, "locks", { value: undefined });
  Object.defineProperty(crypto, "randomUUID", { value: undefined });
}
const { attach } = await import(wanted.get("module"));
const video = window.video;
const AHEAD_S = 2;
const PIECES = 8;
window.rung = 480;
window.report = (options = {}) => {
  window.reporting = attach(video, { ...JSON.parse(wanted.get("options")), ...options });
};
if (!wanted.has("later")) window.report();

const source = new MediaSource();
video.src = URL.createObjectURL(source);
await new Promise((opened) => source.addEventListener("sourceopen", opened, { once: true }));
source.duration = PIECES;
const buffer = source.addSourceBuffer('video/webm; codecs="vp8"');
const got = async (rung, name) => new Uint8Array(await (await fetch(`/films/${rung}/${name}`)).arrayBuffer());
const append = (bytes) =>
  new Promise((done) => {
    buffer.addEventListener("updateend", done, { once: true });
    buffer.appendBuffer(bytes);
  });

let at = 0;
let begun;
video.addEventListener("seeking", () => (at = Math.floor(video.currentTime)));
window.state = "ready";
for (;;) {
  if (at < PIECES && at < video.currentTime + AHEAD_S) {
    const [piece, rung] = [at, window.rung];
    const bytes = await got(rung, piece);
    if (piece !== at) continue; // the viewer is elsewhere by now
    if (begun !== rung) await append(await got(rung, "begin"));
    begun = rung;
    await append(bytes);
    if (piece === at) at += 1;
    if (at === PIECES && source.readyState === "open") source.endOfStream();
  } else {
    await new Promise((done) => setTimeout(done, 50));
  }
}
