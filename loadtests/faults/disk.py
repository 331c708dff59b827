"""A small disk of one's own: a tmpfs that is gone when its maker is, however that ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from loadtests.faults.fault import LeftOut

# Waits for its input to close, which the kernel does for a killed maker too, then takes the disk away.
GUARD: Final = 'read -r _; umount -l "$0"; rmdir "$0"'
GUARD_TIMEOUT_S: Final = 10.0


class SmallDisk:
    """`size_bytes` at `path`, which is made; take it away with `close`. Raises LeftOut where nothing may be mounted."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=755", "tmpfs", str(path)]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True, check=False)
            refusal = mounted.stderr.strip() if mounted.returncode else ""
        except OSError as error:
            refusal = str(error)
        if refusal:
            path.rmdir()
            raise LeftOut(f"no disk of its own: {refusal} (it takes root)")
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(path)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def close(self) -> None:
        """Unmount it and remove its directory; may be called twice."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(GUARD_TIMEOUT_S)
