"""A figure is instructions an event of one part; what is kept of them, and what is too much more. Pure but for a file.

Figures hold for one build of the interpreter: another version, or the same by another compiler, executes others. They
are kept for each in kept.toml.
"""

import platform
import re
import sysconfig
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

KEPT: Final = Path(__file__).with_name("kept.toml")
REQUESTS: Final = {1: (200, 800), 20: (50, 200)}
"""Events a request → few requests, and many."""
BOUND: Final = 0.05
"""More than what is kept, at most."""
BOUND_ELSEWHERE: Final = 0.25
"""On an interpreter of which nothing is kept, against the nearest of which something is: only the coarse is seen."""

HEADER: Final = """\
# Instructions an event, by interpreter and core: what ./gw instructions holds to. ./gw instructions --keep writes them.
"""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Kept(NamedTuple):
    """Figures of one core on one build of the interpreter."""

    interpreter: str
    core: str
    rustc: str
    """What built the core; empty for Python's."""
    figures: dict[str, int]


class Verdict(NamedTuple):
    """Of one core."""

    bound: float
    excess: dict[str, float]
    """Figure → share by which it differs from the one kept; nothing of figures that are new."""
    complaints: list[str]
    """Why it fails; empty: it holds."""
    remarks: list[str]


def name_of(part: str, events_count: int) -> str:
    return f"{part}_{events_count}"


def interpreter() -> str:
    """This one's build: what decides which instructions it executes."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    tuned = [name for name, option in (("pgo", "enable-optimizations"), ("lto", "with-lto")) if option in options]
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([version, platform.python_compiler(), *tuned, platform.machine()])


def per_event(totals: Mapping[str, int]) -> dict[str, int]:
    """Figures of `<figure> <requests>` → instructions."""
    found = {}
    for name in dict.fromkeys(key.split()[0] for key in totals):
        events_count = int(name.rpartition("_")[2])
        few, many = REQUESTS[events_count]
        more = totals[f"{name} {many}"] - totals[f"{name} {few}"]
        found[name] = round(more / (many - few) / events_count)
    return found


def load(path: Path = KEPT) -> list[Kept]:
    """All that is kept; nothing where the file is not there."""
    if not path.exists():
        return []
    return [Kept(**one) for one in tomllib.loads(path.read_text("utf-8")).get("kept", [])]


def text(kept: Iterable[Kept]) -> str:
    """As TOML."""
    parts = []
    for one in kept:
        parts.append(f'\n[[kept]]\ninterpreter = "{one.interpreter}"\ncore = "{one.core}"\nrustc = "{one.rustc}"\n')
        parts.append("[kept.figures]\n" + "".join(f"{name} = {count}\n" for name, count in one.figures.items()))
    return "".join(parts)


def keep(measured: Iterable[Kept], path: Path = KEPT) -> None:
    """In place of those of the same interpreter and core."""
    everything = {(one.interpreter, one.core): one for one in [*load(path), *measured]}
    path.write_text(HEADER + text(everything[key] for key in sorted(everything)), "utf-8")


def nearest(measured: Kept, kept: Iterable[Kept]) -> Kept | None:
    """Of the same core, the one of the interpreter itself or of the version next to it."""

    def distance(one: Kept) -> tuple[bool, list[int]]:
        ours, theirs = _version(measured.interpreter), _version(one.interpreter)
        return one.interpreter != measured.interpreter, [abs(a - b) for a, b in zip(ours, theirs, strict=True)]

    return min((one for one in kept if one.core == measured.core), key=distance, default=None)


def _version(interpreter: str) -> list[int]:
    match = _VERSION.search(interpreter)
    return [int(part) for part in match.groups()] if match else [0, 0, 0]


def verdict(measured: Kept, kept: Iterable[Kept], *, strict: bool) -> Verdict:
    """Whether no figure grew too much. `strict` takes no interpreter of which nothing is kept."""
    known = nearest(measured, kept)
    if known is None:
        return Verdict(BOUND, {}, [f"Nothing is kept of the core {measured.core}: ./gw instructions --keep"], [])
    complaints, remarks = [], []
    bound = BOUND
    if known.interpreter != measured.interpreter:
        bound = BOUND_ELSEWHERE
        told = (
            f"{measured.core}: nothing is kept of {measured.interpreter}, only of {known.interpreter}: the bound is "
            f"{bound:.0%} instead of {BOUND:.0%}."
        )
        if strict:
            complaints.append(f"{told} CI has to be held to figures of its own: ./gw instructions --keep")
        else:
            remarks.append(told)
    excess = {}
    for name, count in measured.figures.items():
        if name not in known.figures:
            complaints.append(f"{measured.core}: nothing is kept of {name}: ./gw instructions --keep")
            continue
        share = excess[name] = count / known.figures[name] - 1
        if count > known.figures[name] * (1 + bound):
            was = f"kept are {known.figures[name]:,} instructions an event"
            complaints.append(f"{measured.core}: {name} takes {count:,}, {share:+.1%}; {was}")
    if gone := sorted(known.figures.keys() - measured.figures.keys()):
        complaints.append(f"{measured.core}: kept, and not measured: {', '.join(gone)}: ./gw instructions --keep")
    if complaints and measured.rustc != known.rustc:
        remarks.append(f"{measured.core}: built by {measured.rustc or 'nobody knows'}, the kept ones by {known.rustc}.")
    if bound == BOUND and excess and min(excess.values()) < -BOUND:
        remarks.append(f"{measured.core} got better: ./gw instructions --keep holds it to that.")
    return Verdict(bound, excess, complaints, remarks)
