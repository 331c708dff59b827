"""`./gw fuzz`: every decoder of the door is fed what no player would send, guided by which lines that reaches.

Each target begins from its corpus in tests/fuzz/corpus and goes on from what earlier runs found (.cache/fuzz-corpus).
What broke one is left in .cache/fuzz-found: put it into the corpus, which every test run feeds to its target.
Exit code 0 when nothing broke, 1 when something did, 2 when there is no fuzzer for this Python.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz import engine
from tests.fuzz.engine import CACHE, CHECKOUT, Unavailable
from tests.fuzz.targets import TARGETS

SECONDS: Final = 600
CORPUS: Final = Path(__file__).with_name("corpus")
DICTIONARY: Final = Path(__file__).with_name("words.dict")
LENGTH_MAX_BYTES: Final = 4_096
INPUT_MAX_S: Final = 10
"""One that takes longer is one that broke it."""
RSS_MAX_MIB: Final = 2_048
GRACE_S: Final = 120
"""Beyond its time: to start, to read its corpus, to say what it found."""
_DONE: Final = re.compile(r"Done (\d+) runs")
_COVERED: Final = re.compile(r"cov: (\d+)")


class Outcome(NamedTuple):
    """Of one target."""

    name: str
    runs: int
    covered: int
    """Places in the code, by the fuzzer's count."""
    broke: bool
    said: str


def run(name: str, seconds: int, seed: int) -> Outcome:
    """Fuzz one target in a process of its own."""
    found, learned = CACHE / "fuzz-found", CACHE / "fuzz-corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    learned.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tests.fuzz.engine", name, str(learned), str(CORPUS / name), f"-dict={DICTIONARY}",
        f"-max_total_time={seconds}", f"-max_len={LENGTH_MAX_BYTES}", f"-timeout={INPUT_MAX_S}",
        f"-rss_limit_mb={RSS_MAX_MIB}", f"-seed={seed}", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1",
    ]  # fmt: skip
    with (found / f"{name}.log").open("w+", errors="replace") as log:
        try:
            done = subprocess.run(
                command, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=seconds + GRACE_S
            )
            held = done.returncode == 0
        except subprocess.TimeoutExpired:
            held = False
        log.seek(0)
        said = log.read()
    runs, covered = _DONE.findall(said), _COVERED.findall(said)
    return Outcome(name, int(runs[-1]) if runs else 0, int(covered[-1]) if covered else 0, not held, said)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each target; {SECONDS} by default")
    parser.add_argument("--only", metavar="TARGET,…", default=",".join(TARGETS), help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seed", type=int, default=0, help="of its chance; 0, the default, is another each time")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    try:
        engine.prepare()
    except Unavailable as reason:
        sys.stderr.write(f"gw fuzz: {reason}\n")
        return 2
    broke = False
    for name in names:
        outcome = run(name, options.seconds, options.seed)
        broke |= outcome.broke
        verdict = "BROKE" if outcome.broke else "held"
        print(f"{name:<14} {outcome.runs:>12,} inputs  {outcome.covered:>6,} places  {verdict}", flush=True)
        if outcome.broke:
            print(outcome.said[-4_000:], flush=True)
    return int(broke)


if __name__ == "__main__":
    sys.exit(main())
