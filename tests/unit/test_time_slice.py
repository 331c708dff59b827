"""A collector asks for a core sooner, not for more of it."""

import os
import platform
import subprocess
import sys

import pytest

ASKING = """
import ctypes, os
from gateway.time_slice import _ATTRIBUTES, _SCHED_SETATTR, shorten
os.nice(3)
granted, told = shorten(200), ctypes.create_string_buffer(_ATTRIBUTES.size)
number = _SCHED_SETATTR[os.uname().machine] + 1  # sched_getattr
assert ctypes.CDLL(None).syscall(number, 0, told, _ATTRIBUTES.size, 0) == 0
_, policy, _, niceness, _, runtime_ns, *_ = _ATTRIBUTES.unpack(told.raw)
print(granted, policy, niceness, runtime_ns)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="the scheduler is Linux's")
def test_a_shorter_slice_is_asked_for_and_the_priority_stays():
    told = subprocess.run([sys.executable, "-c", ASKING], check=True, capture_output=True, text=True)
    granted, policy, niceness, runtime_ns = told.stdout.split()
    assert (granted, policy, int(niceness)) == ("True", "0", os.nice(0) + 3)
    major, minor = map(int, platform.release().split(".")[:2])
    if (major, minor) >= (6, 12):
        assert int(runtime_ns) == 200_000
