"""Whether the cluster and the data directory know each other, and whether the cluster is as far as the directory."""

import time
from typing import Final
from uuid import UUID, uuid4

from storage.scylla.driver import Driver
from storage.sink import SinkLost

WAY_OUT: Final = (
    "Put back what was there; where it cannot be had, `streamverse-ingest cql begin-anew` delivers again what the "
    "spool still holds and books the rest as lost."
)

_REGISTER = "INSERT INTO ingest_registration (registration_id, reader, registered_at_us) VALUES (?, ?, ?)"
_FIND = "SELECT moved FROM ingest_registration WHERE registration_id = ?"
_MOVE = "INSERT INTO ingest_registration (registration_id, moved, moved_at_us) VALUES (?, ?, ?) USING TIMESTAMP ?"


async def register(driver: Driver, reader: str) -> UUID:
    """A new one, on the cluster's disks on return. Raises CqlError."""
    made = uuid4()
    await driver.execute(_REGISTER, [str(made), reader, time.time_ns() // 1_000])
    return made


async def move(driver: Driver, registration_id: str, number: int) -> None:
    """The positions are about to be moved for the `number`th time. Raises SinkLost, CqlError; may be repeated.

    The number is the time of its write, too: one that is late, or of a sink left behind, does not undo a greater one.
    """
    # an insert makes a row that is missing: a keyspace emptied or put back under a busy drain would look whole
    await check(driver, registration_id, number - 1)
    await driver.execute(_MOVE, [registration_id, number, time.time_ns() // 1_000, number])


async def check(driver: Driver, registration_id: str, moved: int) -> int:
    """The number of the last move that the cluster knows of; `moved`: that of the data directory.

    Raises SinkLost when the cluster does not know the directory, or knows it as it was before; and CqlError.
    """
    found = await driver.execute(_FIND, [registration_id])
    if not found:
        raise SinkLost(
            f"ingest_registration has no row for {registration_id}, under which this data directory was registered: "
            f"the keyspace is another one, or was lost and made anew. {WAY_OUT}"
        )
    known = int(found[0][0] or 0)
    if known < moved:
        raise SinkLost(
            f"The keyspace is older than this data directory (restored, or emptied, or its nodes lost power before "
            f"their commit log was on disk): it knows of {known} moves of the positions, the directory of {moved}. "
            f"Rows written since are missing. {WAY_OUT}"
        )
    return known
