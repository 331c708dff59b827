"""A rolling restart: every child, one after the other, becomes a new process with the code and the settings of now.

A new process is ready before the old one is told to go. Whatever is wrong with code or settings is found before
anything is given up for it.
"""

import asyncio
import os
from typing import TYPE_CHECKING, Any

import structlog

from config.settings import Settings, SettingsError
from gateway import handover, restart_status
from gateway.deadline import Deadlines
from gateway.places import COLLECTOR, NotReady, wanted
from gateway.restart_status import Replaced, RestartStatus

if TYPE_CHECKING:
    from gateway.supervisor import Supervisor

log: Any = structlog.get_logger()

CHECK_TIMEOUT_S = 60.0
ENDING_S = 5.0
"""For the last commit, beside what its connections may take."""


class RestartRefused(Exception):
    """Nothing was begun."""


def fixed_setting_changed(old: Settings, new: Settings, *, embedded: bool) -> str | None:
    """The name of a setting that differs and that a restart of the children cannot change. Pure."""
    for name, before, now in (
        ("data_dir", old.data_dir, new.data_dir),
        ("store", old.store, new.store),
        ("http.host", old.http.host, new.http.host),
        ("http.port", old.http.port, new.http.port),
        ("admin.host", old.admin.host, new.admin.host),
        ("admin.port", old.admin.port, new.admin.port),
        ("postgres.url", embedded and not old.postgres.url, embedded and not new.postgres.url),
        ("redis.url", embedded and not old.redis.url, embedded and not new.redis.url),
    ):
        if before != now:
            return name
    return None


def leave_within_s(role: str, settings: Settings) -> float:
    """How long a replaced process may take to go. Pure."""
    shutdown = settings.shutdown
    if role == COLLECTOR:
        return shutdown.restart_grace_s + Deadlines.of(shutdown).requests_s + ENDING_S
    return float(shutdown.timeout_s)


class Restarts:
    """Carried out one after the other. `number`: of the last one there was."""

    def __init__(self, supervisor: "Supervisor", number: int = 0) -> None:
        self._supervisor = supervisor
        self._number = number
        self._asked = asyncio.Event()
        self._with_supervisor = False

    def ask(self, *, with_supervisor: bool) -> None:
        """For one; what is asked for while one is under way comes behind it, once."""
        self._with_supervisor |= with_supervisor
        self._asked.set()

    async def run(self, *, taken_over: bool) -> None:
        """Carry them out, for ever. `taken_over`: the last one is under way, and its children are next."""
        if taken_over:
            await self._one(with_supervisor=False)
        while True:
            await self._asked.wait()
            self._asked.clear()
            with_supervisor, self._with_supervisor = self._with_supervisor, False
            self._number += 1
            await self._one(with_supervisor=with_supervisor)

    def failed(self, reason: str) -> None:
        """The one under way, and everything is as it was."""
        log.error("restart_failed", number=self._number, reason=reason)
        self._tell("failed", reason, [])

    async def _one(self, *, with_supervisor: bool) -> None:
        replaced: list[Replaced] = []
        self._tell("running", "", replaced)
        log.info("restart_begun", number=self._number, with_supervisor=with_supervisor)
        try:
            settings = self._settings()
            if with_supervisor:
                await self._check()
                await self._supervisor.hand_on(self._number)
                return
            await self._roll(settings, replaced)
        except RestartRefused as error:
            log.error("restart_refused", number=self._number, reason=str(error))
            self._tell("refused", str(error), replaced)
        except NotReady as error:
            log.error("restart_failed", number=self._number, reason=str(error), replaced=len(replaced))
            self._tell("failed", str(error), replaced)
        else:
            log.info("restart_done", number=self._number, replaced=len(replaced))
            self._tell("done", "", replaced)

    async def _roll(self, settings: Settings, replaced: list[Replaced]) -> None:
        """Raises NotReady."""
        supervisor, places = self._supervisor, self._supervisor.places
        before, supervisor.settings = supervisor.settings, settings
        supervisor.stores.address(settings)
        places_now = wanted(settings.workers, settings.store)
        try:
            for role, index in places_now:
                if role == "readers" and not supervisor.stores.redis_known.is_set():
                    continue  # it waits for its store, and starts with the code and the settings of then
                replaced.append(await places.replace(role, index, leave_within_s(role, settings)))
                self._tell("running", "", replaced)
        except NotReady:
            if not replaced:
                supervisor.settings = before
                supervisor.stores.address(before)
            raise
        for role, index in sorted(places.places() - set(places_now)):
            replaced.append(await places.give_up(role, index, leave_within_s(role, settings)))

    def _settings(self) -> Settings:
        """As they are in the file now. Raises RestartRefused."""
        supervisor = self._supervisor
        try:
            settings = supervisor.reload()
        except SettingsError as error:
            raise RestartRefused(str(error)) from error
        changed = fixed_setting_changed(supervisor.settings, settings, embedded=supervisor.embedded)
        if changed is not None:
            raise RestartRefused(f"{changed} is not changed by a restart: stop the gateway, and start it")
        if not supervisor.embedded and not (settings.postgres.url and settings.redis.url):
            raise RestartRefused("a store has no address any more")
        return settings

    async def _check(self) -> None:
        """Whether a supervisor can start from the code as it is now. Raises RestartRefused."""
        process = await asyncio.create_subprocess_exec(
            *handover.command(),
            "--check",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            raise RestartRefused(f"the new code did not load within {CHECK_TIMEOUT_S:g} s") from None
        if process.returncode != 0:
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise RestartRefused(f"the new code cannot start: {lines[-1]}")

    def _tell(self, state: Any, reason: str, replaced: list[Replaced]) -> None:
        status = RestartStatus(self._number, state, reason, tuple(replaced))
        restart_status.write(self._supervisor.data.run, status)
