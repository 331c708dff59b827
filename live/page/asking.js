// What no stream tells: routes that are asked every few seconds while somebody looks.

const PATIENCE_MS = 5_000;
const NOT_HERE = "Not available here: this gateway does not tell it.";

/** There is no answer to show; `message` says why, in the gateway's words where it gave any. */
export class NoAnswer extends Error {
  /** `code` is the gateway's stable one, "not_here" for a route it does not have, "unreachable" for no answer. */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

let described = null;

/** Whether this gateway has a route, by its own description; asking for one that is not there would be an error. */
async function has(path) {
  described ??= get("openapi.json").then((document) => document.paths);
  try {
    return path in (await described);
  } catch (error) {
    described = null;
    throw error;
  }
}

/** Another gateway may have come up: its description is read anew. */
export function forgetRoutes() {
  described = null;
}

async function get(url) {
  let answer;
  let body;
  try {
    answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
    body = await answer.json();
  } catch {
    throw new NoAnswer("unreachable", "The gateway does not answer.");
  }
  if (!answer.ok) throw new NoAnswer(body.error ?? "unreachable", body.message ?? answer.statusText);
  return body;
}

/** The answer of `url`, one of the route `path` of the API's description. Throws NoAnswer. */
export async function ask(path, url) {
  if (!(await has(path))) throw new NoAnswer("not_here", NOT_HERE);
  try {
    return await get(url);
  } catch (error) {
    if (error.code === "not_found") throw new NoAnswer("not_here", NOT_HERE);
    throw error;
  }
}

/**
 * Calls `turn` now and again `everyMs` behind the end of each call, while the page is looked at. Returns a function
 * that calls it at once.
 */
export function repeat(turn, everyMs) {
  let timer = 0;
  let running = false;
  let wanted = false;

  async function run() {
    clearTimeout(timer);
    if (running) {
      wanted = true;
      return;
    }
    running = true;
    try {
      if (!document.hidden) await turn();
    } finally {
      running = false;
      timer = setTimeout(run, wanted ? 0 : everyMs);
      wanted = false;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  run();
  return run;
}
