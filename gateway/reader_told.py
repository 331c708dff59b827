"""A reader as /statusz tells it: its own last word, and that it has fallen silent where it gave none for long. Pure."""

from typing import Any, Final

from msgspec import to_builtins

from storage.reader_status import ReaderStatus

STALE_S: Final = 15.0
"""A reader that has not told where it is for so long is not running: it tells every second."""


def reader_told(reader: str, status: ReaderStatus | None, now_us: int) -> dict[str, Any]:
    """Its fields. A last word is no state: who died, or is stopped, or hangs said `running` when it still did."""
    if status is None:
        return {"reader": reader, "state": "starting"}
    age_s = round((now_us - status.at_us) / 1e6, 1)
    told: dict[str, Any] = to_builtins(status) | {"age_s": age_s}
    if age_s < STALE_S or status.state == "rebuild_needed":  # nobody delivers then, and nobody has to say so again
        return told
    last = f"{status.state}: {status.reason}" if status.reason else status.state
    return told | {"state": "silent", "reason": f"It has told nothing for {age_s:.0f} s; its last word was {last}."}
