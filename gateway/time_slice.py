"""How long the kernel lets this process compute in one go, where it can be asked (Linux 6.12, sched_setattr(2)).

A process that asks for a shorter slice gets no more of a core, but gets it sooner: its deadline comes earlier, and the
scheduler takes the core from one with a longer slice at once (EEVDF). Collectors compute for some tens of microseconds
a request, with a player waiting; drains, PostgreSQL and Valkey for milliseconds, with nobody waiting.
"""

import ctypes
import os
import platform
import struct
from typing import Final

COLLECTOR_SLICE_US: Final = 200
"""The kernel's own is 2.8 ms on two cores, and it takes from 0.1 to 100 ms."""
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""struct sched_attr, its first version: size · policy · flags · nice · priority · runtime_ns · deadline · period."""
_SCHED_OTHER: Final = 0


def shorten(slice_us: int) -> bool:
    """Ask for it, for this thread and those it starts; whether it was granted. Older kernels grant and do nothing."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return False
    asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, _SCHED_OTHER, 0, os.nice(0), 0, slice_us * 1_000, 0, 0)
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, 0, asked, 0)) == 0
