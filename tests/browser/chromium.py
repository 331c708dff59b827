"""A headless Chromium, driven over a pipe by its own protocol (CDP): pages, keys, errors, pictures.

Nothing between the test and the browser but JSON, so nothing has to match the browser's version. The parts of the
protocol that are used are of its stable core.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests import needs

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open nothing but a gateway of theirs
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
PATIENCE_S: Final = 60.0
END_S: Final = 10.0
# The browser reads from descriptor 3 and writes to 4.
EXEC: Final = (
    "import fcntl, os, sys; r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    "os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
KEYS: Final = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


class BrowserFailed(Exception):
    """The browser does not answer, or refuses; the text says what was asked."""


def _user_agent(path: str) -> str:
    """Of one with a window. A flag of all: what is set for a page is not of what it sends when it is closed."""
    said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    major = re.search(r"(\d+)\.", said)
    assert major is not None, said
    return (
        f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major[1]}.0.0.0 Safari/537.36"
    )


class Chromium:
    """`with Chromium() as browser:` a browser with a profile of its own, gone behind the block."""

    def __init__(self) -> None:
        path = needs.browser()
        assert path is not None, "there is no Chromium"
        self._profile = tempfile.mkdtemp(prefix="streamverse-browser-")
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        command = [sys.executable, "-c", EXEC, str(reads), str(writes), path]
        self._process = subprocess.Popen(
            [*command, *FLAGS, f"--user-agent={_user_agent(path)}", f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(reads, writes),
            start_new_session=True,
        )
        os.close(reads)
        os.close(writes)
        self._buffer = b""
        self._asked = 0
        self.events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """Session → what its page told, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ask it to go, or else kill it."""
        try:
            self.ask("Browser.close")
            self._process.wait(END_S)
        except (BrowserFailed, OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def page(self, *, width_px: int = 1280, height_px: int = 900, dark: bool = False, scale: float = 1) -> Page:
        """An empty page of its own, sharing nothing with others."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        return Page(self, context, width_px, height_px, dark, scale)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its result. Raises BrowserFailed."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            heard = self._receive(deadline, method)
            if heard.get("id") == self._asked:
                if "error" in heard:
                    raise BrowserFailed(f"{method}: {heard['error']}")
                result: dict[str, Any] = heard["result"]
                return result

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 20) if readable else b""
            if not data:
                raise BrowserFailed(f"{what}: no answer")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        heard: dict[str, Any] = json.loads(line)
        if "method" in heard and "sessionId" in heard:
            self.events[heard["sessionId"]].append(heard)
        return heard


class Page:
    """One tab."""

    def __init__(
        self, browser: Chromium, context: str, width_px: int, height_px: int, dark: bool, scale: float
    ) -> None:
        self._browser = browser
        self._context = context
        self._target = browser.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = browser.ask("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.shape(width_px, height_px, scale)
        self.shade(dark)

    def beside(self) -> Page:
        """Another tab of the same profile, which shares what pages keep."""
        return Page(self._browser, self._context, 1280, 900, False, 1)

    def close(self) -> None:
        """As by the tab's own cross: the page is told that it goes."""
        self._browser.ask("Target.closeTarget", targetId=self._target)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command about this page. Raises BrowserFailed."""
        return self._browser.ask(method, self._session, **parameters)

    def shape(self, width_px: int, height_px: int, scale: float = 1) -> None:
        """The window's size, in the page's own pixels; below 600 it is a phone."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=scale,
            mobile=width_px < 600,
        )

    def shade(self, dark: bool) -> None:
        """What the system prefers."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def tell_that_there_is_no_window(self) -> None:
        """From now on it says so of itself, as it does unless it is told otherwise."""
        user_agent = self.evaluate("navigator.userAgent").replace("Chrome/", "HeadlessChrome/")
        self.ask("Emulation.setUserAgentOverride", userAgent=user_agent)

    def open(self, url: str) -> None:
        """Go there; what it fills in later is waited for by whoever needs it. Raises BrowserFailed."""
        went = self.ask("Page.navigate", url=url)
        if "errorText" in went:
            raise BrowserFailed(f"{url}: {went['errorText']}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, of promises too. Raises BrowserFailed when it throws."""
        done = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise BrowserFailed(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], modifiers=0
            )

    def click(self, selector: str) -> None:
        """The middle of the first element that it selects, with the left button."""
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def errors(self) -> list[str]:
        """What stands in its console as an error until now, that of the network included."""
        self.evaluate("0")
        told = []
        for event in self._browser.events[self._session]:
            method, given = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                told.append(f"thrown: {given['exceptionDetails']}")
            elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "assert", "warning"):
                told.append(f"console: {given['args']}")
            elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
                entry = given["entry"]
                told.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        return told

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the page, all of it or what the window shows."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
