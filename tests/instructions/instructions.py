"""`./gw instructions`: what each part takes for an event, in instructions, and whether that is more than what is kept.

A table of both cores. Ends with 1 when a figure grew by more than the bound, and, with CI=true, when something could
not be held to figures of this interpreter.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from ingest.core import CoreMissing, chosen
from tests.instructions import figure
from tests.instructions.callgrind import NotCounted, measured
from tests.instructions.figure import Kept, Verdict, load, verdict


def cores() -> list[str]:
    """Those that are there."""
    before = chosen.rust
    try:
        chosen.choose("rust")
    except CoreMissing:
        return ["python"]
    finally:
        chosen.rust = before
    return ["python", "rust"]


def all_measured() -> list[Kept]:
    """Both at once: instructions are the same however busy the machine is. Raises NotCounted."""
    names = cores()
    with ThreadPoolExecutor(len(names)) as runs:
        return list(runs.map(measured, names))


def is_strict() -> bool:
    """With CI=true nothing is left out."""
    return os.environ.get("CI", "").lower() == "true"


def table(found: list[Kept], verdicts: list[Verdict]) -> str:
    """Instructions an event, and the difference to what is kept."""
    lines = [" " * 28 + "".join(f"{one.core:>14}{'kept':>10}" for one in found)]
    for name in found[0].figures:
        part, _, events_count = name.rpartition("_")
        cells = ""
        for one, judged in zip(found, verdicts, strict=True):
            share = judged.excess.get(name)
            cells += f"{one.figures[name]:>14,}{'new' if share is None else f'{share:+.1%}':>10}"
        lines.append(f"{part + ', ' + events_count + ' a request':28}{cells}")
    return "instructions an event\n" + "\n".join(lines) + "\n"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="./gw instructions", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="keep what is measured now: what later runs are held to")
    arguments = parser.parse_args()
    try:
        found = all_measured()
    except NotCounted as reason:
        sys.stderr.write(f"instructions: {reason}\n")
        return 1
    verdicts = [verdict(one, load(), strict=is_strict()) for one in found]
    sys.stdout.write(table(found, verdicts))
    if arguments.keep:
        figure.keep(found)
        return 0
    for remark in (remark for one in verdicts for remark in one.remarks):
        sys.stdout.write(f"{remark}\n")
    complaints = [complaint for one in verdicts for complaint in one.complaints]
    if len(found) == 1:
        sys.stdout.write("The Rust core was not built; only Python's was measured.\n")
        if is_strict():
            complaints.append("with CI=true a core that was not built is a failure")
    for complaint in complaints:
        sys.stdout.write(f"FAILED {complaint}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
