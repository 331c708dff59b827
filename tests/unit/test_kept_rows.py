"""What `verify` makes of the spool beside the store's books."""

import re

from gateway.kept_rows import Kept
from gateway.layout import DataDir
from gateway.report import Report
from ingest.spool.frame import MAGIC_BYTES
from ingest.spool.recovery import recover
from storage.postgres.audit import StoredPosition
from storage.postgres.totals import Booking, Books, moved
from tests.damaged_log import overwrite
from tests.incarnations import MONTH, StillClock, UnsyncedDisk, a_frame_body, a_reader, begun, commit, died, segments


def checked(directory, position: StoredPosition) -> Report:
    report = Report()
    Kept(DataDir(directory.parent.parent)).check(position, report)
    return report


def test_a_store_that_knows_more_than_a_damaged_spool_is_a_note_and_one_that_knows_less_is_none(tmp_path):
    incarnation = begun(tmp_path / "spool")
    for number in range(3):
        commit(incarnation, [a_frame_body([b"row %d" % number] * 2)])
    directory, name = incarnation.directory, incarnation.directory.name
    state, booking = a_reader(directory, 2).state, Booking()
    booking.store(MONTH, 4, 7)
    books = moved(Books(), state, [], booking)
    assert checked(directory, StoredPosition(name, 2, books)).agrees
    more = moved(books, state._replace(totals=state.totals._replace(received=6, rejected=2)), [], Booking())
    assert not checked(directory, StoredPosition(name, 2, more)).agrees, "nothing is damaged"

    (path,) = segments(directory)
    data = bytearray(path.read_bytes())
    for match in list(re.finditer(re.escape(MAGIC_BYTES), bytes(data)))[1:]:
        data[match.start() + 30] ^= 1
    died(incarnation)
    overwrite(path, data)
    recover(UnsyncedDisk(), directory.parent, StillClock())
    report = checked(directory, StoredPosition(name, 3, moved(books, a_reader(directory, 2).state, [], Booking())))
    assert report.agrees and "hid 2 events" in report.notes[0]
    less = Books(received=0)
    assert not checked(directory, StoredPosition(name, 3, less)).agrees
