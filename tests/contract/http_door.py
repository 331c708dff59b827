"""The door on loopback as a collector makes it, over either way to read HTTP."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import uvloop

from config.settings import AdsSettings, DoorSettings, HttpSettings, KeysSettings, Settings
from ingest import ad, cmcd
from ingest.ad import AdRow
from ingest.batch import KIND_AD, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL
from ingest.cmcd import CmcdLine
from ingest.entrance import Entrance
from ingest.general import General
from ingest.intake import Intake
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.spool.disk import FileDisk
from ingest.spool.frame import Frame
from ingest.spool.reader import Reader
from ingest.tuple import Row, decode
from tests.appending import append
from tests.contract.http_client import PATIENCE_S, Client, Told, turns
from tests.incarnations import UnsyncedDisk, a_frame_body, quarantine_of
from tests.spooled import StoppedClock

T = TypeVar("T")

SCENARIO_MAX_S: Final = 60.0
PROBE: Final = b"no event: a probe"


class HeldDisk(UnsyncedDisk):
    """Groups wait for their fsync while it is held."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.going.set()

    def fdatasync(self, descriptor: int) -> None:
        self.going.wait(PATIENCE_S)


@dataclass
class Door:
    """One of the two ways in."""

    lean: bool
    disk: Any
    intake: Intake
    entrance: Entrance
    appender: Appender
    port: int
    _spool: Path
    _readers: dict[Path, Reader] = field(default_factory=dict)
    _clients: list[Client] = field(default_factory=list)
    _frames: list[Frame] = field(default_factory=list)
    _stored: list[Row] = field(default_factory=list)
    _ads: list[AdRow] = field(default_factory=list)
    _lines: list[CmcdLine] = field(default_factory=list)

    async def client(self, *, narrow: bool = False) -> Client:
        """A new connection, known to the server; `narrow`: with the smallest buffers on its side."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if narrow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 10)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        await turns()
        client = Client(connection, self.settled)
        self._clients.append(client)
        return client

    async def ask(self, *pieces: bytes, of_head: bool = False, closed: bool = False) -> Told:
        """Over a connection of its own; `closed`: until the server hangs up, which may take a moment."""
        client = await self.client()
        await client.send(*pieces)
        if closed:
            await client.until(closed=True)
        told = await client.told(of_head=of_head)
        client.hang_up()
        self._clients.remove(client)
        return told

    @property
    def handed_over(self) -> bool:
        """aiohttp has read a request."""
        return self.entrance.general.requests_count > 0

    @property
    def connections(self) -> int:
        """That the server holds."""
        return len(self.entrance._connections) + len(self.entrance.general.connections)

    async def settled(self) -> None:
        """What was sent is read, and what was waiting for the disk has been told: a probe went the same way."""
        await turns()
        try:
            await asyncio.wait_for(append(self.appender, [a_frame_body([PROBE])]), PATIENCE_S)
        except SpoolUnavailable:
            pass
        await turns()

    def stored(self) -> list[Row]:
        """Everything on disk, in its order: what a reader gets from the spool."""
        for directory in self._spool.iterdir():
            if directory not in self._readers:
                self._readers[directory] = Reader(directory, UnsyncedDisk(), quarantine_of(directory), 0)
        for reader in self._readers.values():
            while frames := reader.read(1 << 20).frames:
                self._frames += frames
                self._stored += rows(frames)
                self._ads += ad_rows(frames)
                self._lines += cmcd_lines(frames)
        return self._stored

    def frames(self) -> list[Frame]:
        """The frames that they came in."""
        self.stored()
        return [one for one in self._frames if one.tuples() != [PROBE]]

    def ads(self) -> list[AdRow]:
        """The ad events of them."""
        self.stored()
        return self._ads

    def lines(self) -> list[CmcdLine]:
        """The lines of CMCD among them."""
        self.stored()
        return self._lines

    def close(self) -> None:
        """Clients and readers."""
        for client in self._clients:
            client.hang_up()
        for reader in self._readers.values():
            reader.close()


def rows(frames: Sequence[Frame]) -> list[Row]:
    """Of events, not of probes."""
    kinds = (KIND_PLAYBACK, KIND_SIGNAL)
    return [decode(row) for frame in frames if frame.kind in kinds for row in frame.tuples() if row != PROBE]


def ad_rows(frames: Sequence[Frame]) -> list[AdRow]:
    """Of ad events."""
    return [ad.decode(row) for frame in frames if frame.kind == KIND_AD for row in frame.tuples()]


def cmcd_lines(frames: Sequence[Frame]) -> list[CmcdLine]:
    """Of CMCD."""
    return [cmcd.decode(row) for frame in frames if frame.kind == KIND_CMCD for row in frame.tuples()]


_numbers = count(1)


@asynccontextmanager
async def opened(
    root: Path,
    *,
    lean: bool,
    on: Callable[[], FileDisk] = UnsyncedDisk,
    door: DoorSettings = DoorSettings(),  # noqa: B008  it is frozen
    ads: AdsSettings = AdsSettings(),  # noqa: B008  it is frozen
    keys: KeysSettings = KeysSettings(),  # noqa: B008  it is frozen
    **http: Any,
) -> AsyncIterator[Door]:
    """A door with these HttpSettings, on a disk of its own.

    Its wall clock stands at RECEIVED_AT of the builders, Retry-After at its middle.
    """
    spool = root / f"door{next(_numbers)}" / "spool"
    spool.mkdir(parents=True)
    settings = Settings(http=HttpSettings(lean=lean, **http), door=door, ads=ads, keys=keys)
    clock, disk = StoppedClock(), on()
    appender = Appender(spool, disk, clock, settings.spool)
    try:
        appender.start()
    except OSError:
        pass  # `run` tries again
    intake = Intake(settings, appender, clock, chance=lambda: 0.5)
    entrance = Entrance(intake, settings.http, General(intake, settings.http).protocol_factory())
    listening = socket.socket()
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # back-pressure is reached soon
        listening.setsockopt(socket.SOL_SOCKET, buffer, 32 << 10)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(entrance, sock=listening)
    sweeping, committing = asyncio.ensure_future(entrance.run()), asyncio.ensure_future(appender.run())
    way = Door(lean, disk, intake, entrance, appender, listening.getsockname()[1], spool)
    try:
        yield way
        assert not sweeping.done() and not committing.done(), "the server goes on"
    finally:
        server.close()
        way.close()
        await entrance.drain(0, 0.2)
        sweeping.cancel()
        appender.close()
        await asyncio.wait_for(committing, PATIENCE_S)
    assert intake.admission.inflight_bytes == 0, "whatever a client did, what was booked for it is released"


Scenario = Callable[[Door], Coroutine[Any, Any, T]]


def over(root: Path, scenario: Scenario[T], *, lean: bool, **options: Any) -> T:
    """What `scenario` returns on a new door, in an event loop of its own; one that hangs is ended."""

    async def main() -> T:
        async with opened(root, lean=lean, **options) as door:
            return await asyncio.wait_for(scenario(door), SCENARIO_MAX_S)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def over_both(root: Path, scenario: Scenario[T], **options: Any) -> T:
    """The same, over both ways, which have to agree."""
    lean = over(root, scenario, lean=True, **options)
    general = over(root, scenario, lean=False, **options)
    assert lean == general
    return lean
