"""Who is refused is told by a file, and nobody is when it was not written for a while."""

import os
import time
from pathlib import Path

from gateway import surplus_file

SESSIONS = frozenset({b"a" * 16, b"b" * 16})


def test_what_was_written_is_read_and_replaced(tmp_path: Path) -> None:
    assert surplus_file.read(tmp_path) == frozenset()
    for refused in (SESSIONS, frozenset[bytes]()):
        surplus_file.write(tmp_path, refused)
        assert surplus_file.read(tmp_path) == refused


def test_a_file_of_long_ago_or_of_a_clock_that_was_put_back_refuses_nobody(tmp_path: Path) -> None:
    surplus_file.write(tmp_path, SESSIONS)
    for off_s in (-surplus_file.GOOD_S - 2, surplus_file.GOOD_S + 2):
        at_s = time.time() + off_s
        os.utime(tmp_path / surplus_file.NAME, (at_s, at_s))
        assert surplus_file.read(tmp_path) == frozenset()


def test_a_directory_that_is_gone_ends_nobody(tmp_path: Path) -> None:
    surplus_file.write(tmp_path / "gone", SESSIONS)
    assert surplus_file.read(tmp_path / "gone") == frozenset()
