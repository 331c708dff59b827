"""How a child process is told to go: by signals.

SIGTERM   the gateway ends: finish what is under way. Again, or when the supervisor is gone: now
SIGHUP    another process does this work already: hand over and go
"""

import asyncio
import os
import signal


class Notice:
    """Given to the process's role. Its events, once set, stay so."""

    def __init__(self) -> None:
        self.given = asyncio.Event()
        """Whichever it is."""
        self.replaced = asyncio.Event()
        self.terminated = asyncio.Event()
        self.insisted = asyncio.Event()

    def listen(self, parent_pid: int) -> None:
        """Take the signals of this process, whose supervisor is `parent_pid`; in a running event loop."""

        def terminate() -> None:
            if self.terminated.is_set() or os.getppid() != parent_pid:  # by its death: who comes next does the rest
                self.insisted.set()
            self.terminated.set()
            self.given.set()

        def replace() -> None:
            self.replaced.set()
            self.given.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, terminate)
        loop.add_signal_handler(signal.SIGINT, terminate)
        loop.add_signal_handler(signal.SIGHUP, replace)

    def may_finish(self) -> bool:
        """There is time for what is left, and nobody else to do it."""
        return not (self.replaced.is_set() or self.insisted.is_set())
