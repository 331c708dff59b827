"""A child that an earlier program of this very process started: known by its pid, waited for by asking."""

import asyncio
import os
import signal

POLL_S = 0.05


class AdoptedProcess:
    """What is needed of asyncio's Process and of Popen, for a pid that neither of them started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; negative: ended by that signal; None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else was told of its end
                self.returncode = 0
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    async def wait(self) -> int:
        while (code := self.poll()) is None:
            await asyncio.sleep(POLL_S)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
