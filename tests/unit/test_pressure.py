"""When the door opens again, by the pace at which the stores empty the spool."""

from ingest.pressure import WINDOW_S, Pressure

MB = 1_000_000


def test_below_the_mark_there_is_room_and_at_it_there_is_none() -> None:
    pressure = Pressure()
    assert not pressure.look(0, -1) and not pressure.full
    assert pressure.look(1, 0) and pressure.full


def test_the_wait_is_what_is_too_much_divided_by_the_pace() -> None:
    pressure = Pressure()
    pressure.look(0, 100 * MB)
    pressure.look(10, 50 * MB)
    assert round(pressure.room_in_s) == 10


def test_a_store_that_takes_nothing_is_the_longest_wait() -> None:
    pressure = Pressure()
    pressure.look(0, 5)
    assert pressure.room_in_s == 30
    pressure.look(1, 5)
    pressure.look(2, 9)
    assert pressure.room_in_s == 30


def test_what_came_in_before_the_door_was_shut_does_not_slow_the_pace() -> None:
    pressure = Pressure()
    pressure.look(0, -500 * MB)
    pressure.look(10, 10 * MB)
    pressure.look(11, 5 * MB)
    assert round(pressure.room_in_s) == 1


def test_a_pace_of_long_ago_does_not_count() -> None:
    pressure = Pressure()
    pressure.look(0, 900 * MB)
    pressure.look(1, 100 * MB)  # then the store went away
    for second in range(2, int(WINDOW_S) + 3):
        pressure.look(second, 100 * MB)
    assert pressure.room_in_s == 30


def test_the_wait_keeps_its_bounds() -> None:
    pressure = Pressure()
    pressure.look(0, 1_000 * MB)
    pressure.look(1, 1)
    assert pressure.room_in_s == 1
    pressure.look(2, -1)
    assert pressure.room_in_s == 1
