"""A place is filled anew only by a process that is ready; whatever happens meanwhile, somebody fills it."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from config.settings import Settings, load
from gateway import places as places_module
from gateway.adopted import AdoptedProcess
from gateway.deadline import Deadlines
from gateway.handover import Running
from gateway.places import NotReady, Places, wanted
from gateway.restart_status import Replaced
from gateway.restarting import fixed_setting_changed, leave_within_s


class FakeChild:
    """A child without a process: ready when it is let, gone when it is asked."""

    pids = iter(range(1_000, 9_000))

    def __init__(self, role, index, journal, comes_up=True):
        self.role, self.index, self.journal, self.comes_up = role, index, journal, comes_up
        self.pid = None
        self.restarts = 0
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()

    def adopt(self, pid, restarts):
        self.pid, self.restarts = pid, restarts
        self.ready.set()

    async def run(self):
        if self.pid is None:
            self.pid = next(self.pids)
            self.journal.append(("started", self.role, self.index))
            await asyncio.sleep(0)
            if self.comes_up is True:
                self.ready.set()
            elif self.comes_up is False:
                self.restarts += 1  # it died, and is tried again
        await self.gone.wait()

    async def stop(self, number, kill_at_s, insist_at_s=None):
        self.journal.append((number.name, self.role, self.index, self.ready.is_set()))
        self.pid = None
        self.gone.set()


def in_places(scenario, *, workers=2, adopted=()):
    """Run `scenario(places, journal, coming)`; what `coming` holds by role and index is how the next one comes up."""

    async def main():
        journal: list[Any] = []
        coming: dict[tuple[str, int], bool | None] = {}
        make: Any = lambda role, index: FakeChild(role, index, journal, coming.get((role, index), True))  # noqa: E731
        places = Places(make)
        async with asyncio.TaskGroup() as running:
            places.fill(running, wanted(workers), adopted)
            await asyncio.gather(*(child.ready.wait() for child in places.children))
            journal.clear()
            await scenario(places, journal, coming)
            await places.stop(Deadlines.of(Settings().shutdown), asyncio.get_running_loop().time())

    asyncio.run(asyncio.wait_for(main(), 20))


def test_collectors_come_first_and_readers_last():
    assert wanted(2) == [("collector", 0), ("collector", 1), ("stage", 0), ("postgres_drain", 0), ("readers", 0)]
    assert [role for role, _ in wanted(1, "scylla")] == [
        "collector", "stage", "scylla_drain", "postgres_drain", "readers"
    ]  # fmt: skip


def test_the_new_one_is_ready_before_the_old_one_is_told_to_go():
    async def scenario(places, journal, coming):
        old = places.children[0]
        before, old.restarts = old.pid, 3
        replaced = await places.replace("collector", 0, 5)
        assert journal == [("started", "collector", 0), ("SIGHUP", "collector", 0, True)]
        new = places.children[0]
        assert (replaced, new.restarts) == (Replaced("collector", 0, before, new.pid), 3)
        assert new is not old and len(places.children) == 5 and new.pid != before

    in_places(scenario)


@pytest.mark.parametrize("comes_up", [False, None], ids=["it dies", "it is never ready"])
def test_one_that_does_not_come_up_replaces_nobody(monkeypatch, comes_up):
    monkeypatch.setattr(places_module, "READY_TIMEOUT_S", 0.2)

    async def scenario(places, journal, coming):
        before, pids = list(places.children), places.pids()
        coming["collector", 1] = comes_up
        with pytest.raises(NotReady, match="collector 1"):
            await places.replace("collector", 1, 5)
        assert journal == [("started", "collector", 1), ("SIGTERM", "collector", 1, False)]
        assert places.children == before and places.pids() == pids

    in_places(scenario)


def test_places_come_and_go():
    async def scenario(places, journal, coming):
        assert (await places.replace("collector", 2, 5)).before is None
        assert ("collector", 2) in places.places()
        assert (await places.give_up("collector", 2, 5)).now is None
        assert places.places() == set(wanted(2))
        assert journal[-1] == ("SIGHUP", "collector", 2, True)

    in_places(scenario)


def test_what_ran_before_is_adopted_even_where_it_is_no_longer_wanted():
    async def scenario(places, journal, coming):
        first, *others, last = places.running()
        assert (first, len(others), last) == (Running("collector", 0, 7, 2), 3, Running("collector", 5, 8, 0))

    in_places(scenario, workers=1, adopted=(Running("collector", 0, 7, 2), Running("collector", 5, 8, 0)))


def test_at_the_end_who_is_coming_is_stopped_too_and_collectors_end_before_readers(monkeypatch):
    async def scenario(places, journal, coming):
        coming["collector", 0] = None
        replacing = asyncio.create_task(places.replace("collector", 0, 5))
        while len(places.pids()) < 6:
            await asyncio.sleep(0.01)
        replacing.cancel()
        await asyncio.wait([replacing])
        journal.clear()
        await places.stop(Deadlines.of(Settings().shutdown), asyncio.get_running_loop().time())
        assert [entry[1] for entry in journal] == ["collector"] * 3 + ["stage", "postgres_drain", "readers"]
        assert {entry[0] for entry in journal} == {"SIGTERM"}
        assert places.pids() == []

    in_places(scenario)


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"http": {"port": 1}}, "http.port"),
        ({"http": {"host": "127.0.0.1"}}, "http.host"),
        ({"admin": {"port": 1}}, "admin.port"),
        ({"data_dir": "elsewhere"}, "data_dir"),
        ({"store": "scylla"}, "store"),
        ({"postgres": {"url": "postgresql://u@h/d"}}, "postgres.url"),
        ({"workers": 4, "http": {"keepalive_s": 5}}, None),
    ],
)
def test_a_setting_that_only_a_start_can_change_is_named(changes, name):
    changed = load(None, {}, **changes)
    assert fixed_setting_changed(Settings(), changed, embedded=True) == name
    expected = None if name == "postgres.url" else name  # another server is fine where it is not ours
    assert fixed_setting_changed(Settings(), changed, embedded=False) == expected


def test_a_replaced_collector_has_time_for_its_connections():
    shutdown = Settings().shutdown
    assert leave_within_s("collector", Settings()) > shutdown.restart_grace_s + Deadlines.of(shutdown).requests_s
    assert leave_within_s("readers", Settings()) == shutdown.timeout_s


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, -15), (signal.SIGKILL, -9), (None, 3)])
def test_an_adopted_process_tells_how_it_ended(number, code):
    command = [sys.executable, "-c", "import sys, time; sys.stdin.read(); sys.exit(3)"]
    started = subprocess.Popen(command, stdin=subprocess.PIPE)
    adopted = AdoptedProcess(started.pid)
    assert adopted.poll() is None
    if number is None:
        assert started.stdin is not None
        started.stdin.close()
    else:
        adopted.send_signal(number)
    assert asyncio.run(asyncio.wait_for(adopted.wait(), 20)) == code == adopted.returncode
    adopted.kill()  # of one that is gone: nothing
    started.returncode = code  # it was waited for


def test_an_adopted_process_that_somebody_else_waited_for_has_ended():
    started = subprocess.Popen([sys.executable, "-c", ""])
    os.waitpid(started.pid, 0)
    started.returncode = 0
    assert AdoptedProcess(started.pid).poll() == 0
