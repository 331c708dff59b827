"""A store that refuses some events, as somebody's CHECK does, and the dead letters that a gateway makes of them."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from tests.acceptance.client import Book, an_event, eventually, sql
from tests.acceptance.gateway_process import Gateway

SOON_S: Final = 40.0
SANE_KBPS: Final = 1_000


def refuse(gateway: Gateway) -> None:
    """From now on the store takes no event of more than SANE_KBPS."""
    check = f"ADD CONSTRAINT sane CHECK (bitrate IS NULL OR bitrate < {SANE_KBPS}) NOT VALID"
    sql(gateway.endpoints["postgres"], f"ALTER TABLE playback_events {check}")


def take_everything(gateway: Gateway) -> None:
    sql(gateway.endpoints["postgres"], "ALTER TABLE playback_events DROP CONSTRAINT IF EXISTS sane")


def refused_events(gateway: Gateway, book: Book, number: int, **changes: Any) -> list[dict[str, Any]]:
    """Post so many that the store refuses, and one that it takes; wait until they are dead letters."""
    before = counted(gateway)
    events = [an_event(bitrate=5_000 + index, **changes) for index in range(number)]
    for at in range(0, number, 100):
        part = [*events[at : at + 100], an_event(bitrate=5)]
        assert book.post(gateway.endpoints["http"], part).json["accepted"] == len(part)
    eventually(lambda: counted(gateway) == before + number, SOON_S, "they are dead letters")
    return events


def counted(gateway: Gateway) -> int:
    """Letters, as the gateway says."""
    return int(gateway.statusz()["dead_letters"]["letters"])


def letters(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    """As `dead-letters list --json` says."""
    done = dead(gateway, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["letters"]
    return found


def dead(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    return gateway.command("dead-letters", *arguments)
