"""Processes as Linux shows them under /proc: who descends from whom, who still lives, how much CPU each has used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process for good: a pid alone may be given to another process later, pid and start time may not."""

    pid: int
    started_ticks: int


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that are used here; CPU in clock ticks, with and without reaped children."""

    process: Process
    name: str
    state: str
    parent_pid: int
    cpu_ticks: int
    kernel_ticks: int
    """Of `cpu_ticks`."""
    cpu_with_reaped_ticks: int


def stat(pid: int) -> Stat | None:
    """What /proc says of `pid`, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    before, _, after = text.rpartition(")")  # the name stands in parentheses and may hold anything
    fields = after.split()
    user, system, reaped_user, reaped_system = (int(value) for value in fields[11:15])
    return Stat(
        process=Process(pid, int(fields[19])),
        name=before.partition("(")[2],
        state=fields[0],
        parent_pid=int(fields[1]),
        cpu_ticks=user + system,
        kernel_ticks=system,
        cpu_with_reaped_ticks=user + system + reaped_user + reaped_system,
    )


def all_stats() -> dict[int, Stat]:
    """Every process of the machine, by pid."""
    found = (stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {seen.process.pid: seen for seen in found if seen is not None}


def tree(root_pid: int) -> list[Stat]:
    """The process `root_pid` and all that descend from it, parents first; zombies are left out."""
    stats = all_stats()
    children: dict[int, list[int]] = {}
    for seen in stats.values():
        children.setdefault(seen.parent_pid, []).append(seen.process.pid)
    found: list[Stat] = []
    waiting = [root_pid]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            if stats[pid].state != "Z":
                found.append(stats[pid])
            waiting.extend(children.get(pid, ()))
    return found


def alive(process: Process) -> bool:
    """Whether exactly this process still runs; a zombie does not."""
    seen = stat(process.pid)
    return seen is not None and seen.process == process and seen.state not in "ZX"


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of these processes, without their children."""
    return sum(seen.cpu_ticks for pid in pids if (seen := stat(pid)) is not None) / TICKS_PER_S


def kernel_s(pids: Iterable[int]) -> float:
    """What of `cpu_s` these processes spent in system calls and faults."""
    return sum(seen.kernel_ticks for pid in pids if (seen := stat(pid)) is not None) / TICKS_PER_S


def tree_cpu_s(root_pid: int) -> float:
    """CPU seconds of a process and everything below it, those that have ended included (their parents reaped them)."""
    return sum(seen.cpu_with_reaped_ticks for seen in tree(root_pid)) / TICKS_PER_S


def machine_busy_s() -> float:
    """CPU seconds that all cores together have spent on anything so far; idle and waiting for disks are not work."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts = fields[:7]
    return (user + nice + system + interrupts + soft_interrupts) / TICKS_PER_S


def give_way(niceness: int) -> None:
    """Ask for less of a core where cores are short: as a process and, of one that leads a session, as that."""
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # where the kernel shares cores between processes alone
            Path("/proc/self/autogroup").write_text(str(niceness))


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes, what they share counted once among them (proportional set size)."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(text.partition("\nPss:")[2].split()[0]) * 1024
    return total
