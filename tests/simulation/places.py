"""Where things lie on the simulated disk."""

from pathlib import Path

DATA = Path("/data")
SPOOL = DATA / "spool"
DEAD = DATA / "dead"
QUARANTINE = DATA / "quarantine"
