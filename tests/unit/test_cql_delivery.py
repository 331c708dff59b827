"""Whose fault a refusal is: a row's, or the table's; other tables that take their rows say nothing of it."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from storage.scylla.columns import BY_SESSION, ERRORS
from storage.scylla.delivery import REFUSED_MAX, Delivery, Size
from storage.scylla.driver import CqlInvalid, Write
from storage.scylla.requests import Need, Request
from storage.sink import SinkRefused


class Refusing:
    """A driver whose table takes what is bound to `good` alone."""

    async def write(self, writes: Sequence[Write]) -> None:
        await asyncio.sleep(0)
        if any(statement != "good" for statement, _ in writes):
            raise CqlInvalid("2200", "altered by hand")


def a_request(table: Any, statement: str, number: int) -> Request:
    return Request(table, [(statement, (number,) * len(table.always))])


def delivery() -> Delivery:
    async def meet(_: Need) -> None: ...

    driver: Any = Refusing()  # `write` is all that is asked of it
    return Delivery(driver, 64, Size(50), meet)


def test_a_table_that_took_rows_and_takes_none_any_more_is_found_among_those_that_do() -> None:
    def steps() -> Iterator[Request]:
        yield a_request(ERRORS, "good", 0)
        for number in range(1, 10 * REFUSED_MAX):
            yield a_request(BY_SESSION, "good", number)
            yield a_request(ERRORS, "bad", number)

    with pytest.raises(SinkRefused, match="errors_by_edge takes no row"):
        asyncio.run(delivery().run(steps()))


def test_bad_rows_among_good_ones_of_their_table_are_refused_one_by_one() -> None:
    def steps() -> Iterator[Request]:
        for number in range(10 * REFUSED_MAX):
            yield a_request(ERRORS, "bad" if number % 8 == 7 else "good", number)

    one = delivery()
    asyncio.run(one.run(steps()))
    assert len(one.refused) == 10 * REFUSED_MAX // 8


def test_a_row_that_is_alone_and_late_makes_no_request_smaller_and_many_rows_do() -> None:
    size = Size(100)
    size.failed(1, slow=True)
    assert size.rows_max == 100
    size.failed(60, slow=True)
    assert size.rows_max == 30
