"""The time after a SIGTERM is shared out in the order of the flow, and one thread keeps its end whatever hangs."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import SettingsError, ShutdownSettings, load
from gateway.deadline import Deadlines
from loadtests.procfs import stat

STUCK = """
import os, subprocess, sys, threading, time
from gateway.deadline import exit_at_the_latest
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
exit_at_the_latest(0.5, lambda: [child.pid, 2**22 + 1])
threading.Thread(target=time.sleep, args=(600,)).start()  # a disk call that does not return
print(child.pid, flush=True)
"""


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.integers(1, 3_000))
def test_each_part_ends_before_the_next_and_all_before_the_timeout(delay_s: int, grace_s: int, more_s: int) -> None:
    settings = ShutdownSettings(timeout_s=delay_s + 3 * grace_s + more_s, delay_s=delay_s, keepalive_grace_s=grace_s)
    found = Deadlines.of(settings)
    assert list(found) == sorted(found)
    assert len(set(found)) == len(found)
    assert found.requests_s > grace_s, "whoever was told to close has time for an answer"
    assert delay_s + found.exit_s < settings.timeout_s


@pytest.mark.parametrize("text", ["timeout_s = 4\ndelay_s = 1", "timeout_s = 3", "delay_s = 30", "timeout_s = 0"])
def test_a_timeout_that_leaves_no_time_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f"[shutdown]\n{text}\n")
    with pytest.raises(SettingsError, match="timeout_s"):
        load(path, {})


def test_a_process_that_hangs_on_its_way_out_ends_with_0_and_takes_its_children_with_it() -> None:
    begun_s = time.monotonic()
    stuck = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True)
    assert stuck.stdout is not None
    child = int(stuck.stdout.readline())
    assert stuck.wait(20) == 0
    assert time.monotonic() - begun_s >= 0.5
    left = stat(child)
    assert left is None or left.state == "Z", "killed; whoever inherits it may not have looked yet"
