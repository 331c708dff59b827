"""What is read back from CQL and how soon: a session's thousand events, and a content's last hour of a thousand, which
were posted to the door, by the command for people.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from loadtests.bench.cassandra import drained
from loadtests.bench.cql_events import event, new_id, post, time_of
from loadtests.bench.scene import Figures, say
from loadtests.product import ROOT, Product, ProductFailed

EVENTS: Final = 1_000
A_REQUEST: Final = 100
SESSIONS: Final = 50
"""Of the content's viewers."""
TIMES: Final = 100
"""A server compiles what it needs for a read while it is asked; the later half is told."""
HOUR_S: Final = 3_600
SAID: Final = re.compile(r"^(\d+) events in ([0-9.]+) ms", re.MULTILINE)


async def reads(product: Product, environment: Mapping[str, str]) -> Figures:
    """Medians in ms, on one connection. Raises ProductFailed, OSError, TimeoutError."""
    chance = random.Random()
    session, content = new_id(chance), new_id(chance)
    now_s = time.time()
    timeline = [event(chance, session, new_id(chance), number, now_s - EVENTS + number) for number in range(EVENTS)]
    sessions = [new_id(chance) for _ in range(SESSIONS)]
    spacing_s = (HOUR_S - 60) / EVENTS
    hour = [
        event(chance, sessions[number % SESSIONS], content, number, now_s - number * spacing_s)
        for number in range(EVENTS)
    ]
    say(f"a session's {EVENTS:,} events, and a content's last hour of as many, read {TIMES} times")
    for events in (timeline, hour):
        for begin in range(0, EVENTS, A_REQUEST):
            await asyncio.to_thread(post, product, events[begin : begin + A_REQUEST])
    await drained(product)
    span = ["--since", time_of(now_s - HOUR_S), "--until", time_of(now_s + 60)]
    return {
        "session_read_ms": await asyncio.to_thread(_read, product, environment, ["session", session, *span]),
        "content_read_ms": await asyncio.to_thread(_read, product, environment, ["content", content, *span]),
    }


def _read(product: Product, environment: Mapping[str, str], what: list[str]) -> float:
    command = [sys.executable, "-m", "gateway.cli", "events", *what]
    command += ["--data-dir", str(product.data_dir), "--limit", str(EVENTS), "--times", str(TIMES)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    said = SAID.search(done.stderr)
    if done.returncode or said is None or int(said[1]) != EVENTS:
        raise ProductFailed(f"{' '.join(what)}: {done.stderr.strip()[-500:]}")
    return float(said[2])
