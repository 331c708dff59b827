"""Who delivers gives way to who acknowledges, also where the kernel shares cores between sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GIVING = """
import os
from gateway.embedded.child import give_way
give_way(7)
with open("/proc/self/autogroup") as group:
    print(os.nice(0), group.read().split()[-1])
"""
WITHIN = """
import subprocess
import sys
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""
GROUP = Path("/proc/self/autogroup")


def given_way(*program: str) -> tuple[int, int]:
    """What a process then asks for, and its session; the session is led by `program`."""
    told = subprocess.run(
        [sys.executable, "-c", *program], check=True, capture_output=True, text=True, start_new_session=True
    )
    niceness, of_session = told.stdout.split()
    return int(niceness), int(of_session)


@pytest.mark.skipif(not GROUP.exists(), reason="this kernel shares cores between processes alone")
def test_a_session_gives_way_with_the_process_that_leads_it() -> None:
    assert given_way(GIVING) == (os.nice(0) + 7, 7)


@pytest.mark.skipif(not GROUP.exists(), reason="this kernel shares cores between processes alone")
def test_the_session_of_somebody_else_stays_as_it_is() -> None:
    assert given_way(WITHIN, GIVING) == (os.nice(0) + 7, 0)
