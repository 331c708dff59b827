// Server-sent events that come back by themselves, whatever ended them, and rest while nobody looks.

const SILENCE_MAX_MS = 10_000; // an event is due every second; a connection that says nothing is dead
const REFUSED_AGAIN_MS = 5_000;
const HIDDEN_MS = 30_000; // a page in the background gives its place back: a browser has six connections to a host

/**
 * Listens to `url` for events of `kind` and for `unavailable`, for as long as the page lives.
 *
 * `told(data, id)` is called with each sample, `unavailable(error)` with the gateway's reason for having none, and
 * `lost()` when the connection is gone: what was told is not of now any more.
 */
export function listen(url, kind, { told, unavailable, lost }) {
  let source = null;
  let watchdog = 0;
  let again = 0;
  let resting = 0;

  function watch() {
    clearTimeout(watchdog);
    watchdog = setTimeout(reopen, SILENCE_MAX_MS);
  }

  function close() {
    clearTimeout(watchdog);
    clearTimeout(again);
    source?.close();
    source = null;
  }

  function reopen() {
    lost();
    open();
  }

  function open() {
    close();
    source = new EventSource(url);
    watch();
    source.addEventListener(kind, (event) => {
      watch();
      told(JSON.parse(event.data), event.lastEventId);
    });
    source.addEventListener("unavailable", (event) => {
      clearTimeout(watchdog); // only comments, which no page sees, until there are numbers again
      unavailable(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      lost();
      clearTimeout(watchdog);
      if (source?.readyState === EventSource.CLOSED) {
        // refused, by a gateway that is full or a proxy in between: the browser does not ask again
        again = setTimeout(open, REFUSED_AGAIN_MS);
      } else {
        watch();
      }
    });
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(resting);
    if (document.hidden) {
      resting = setTimeout(() => {
        close();
        lost();
      }, HIDDEN_MS);
    } else if (source === null) {
      open();
    }
  });

  open();
}
