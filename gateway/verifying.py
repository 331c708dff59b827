"""`verify`: the equation of DESIGN §2 at one position, and against the tables and the counters.

For every incarnation, at the store's position, the spool's running totals must equal what the store says it did with
them: `received = stored + duplicate + signal + staged + rejected + dead + quarantined`. For every month the rows in the
table must be those that were stored, by number and by an order-free sum of their hashes. Where they are not, rows are
named as far back as segments are kept; beyond that, the month. Ad events are merged, so these are compared by number
alone. Redis and the hourly sums count what was delivered, so where their views are not those of the tables they must
be those of all delivered rows; where these are gone, a hundredth is tolerated.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg

from gateway import cql_tables, stage_books
from gateway.kept_rows import Kept, described, occurred_at_us
from gateway.layout import DataDir
from gateway.report import Report
from ingest import tuple as copy_tuple
from ingest.spool.disk import FileDisk
from ingest.spool.frame import MASK
from ingest.spool.shortfall import noted
from live import views
from storage.postgres.audit import Audit, StoredPosition
from storage.postgres.totals import ADS
from storage.redis.connection import connect, translated
from storage.redis.key import POSITIONS, REGISTRATION, generation_of
from storage.redis.rebuild import rows_since_us
from storage.scylla.stored_rows import StoredRows
from storage.sink import StoreError

VIEW_WINDOW = timedelta(days=30)
"""Redis keeps view hours for 31 days; the last of them may just be expiring."""
VIEWS_TOLERANCE = 0.01
"""Of all views: how far tables and Redis may be apart (DESIGN §4) where the spool can no longer say which is right."""


class CannotVerify(Exception):
    """A store does not answer."""


async def verify(
    data: DataDir, postgres_url: str, redis_url: str, view_memory_s: int, rows: StoredRows | None = None
) -> Report:
    """`view_memory_s`: how long Redis remembers a view; `rows`: of the CQL store, where that keeps them. Raises
    CannotVerify when a store does not answer; what differs is in the report."""
    report = Report()
    received_since_us = rows_since_us(int(datetime.now(UTC).timestamp() * 1e6), view_memory_s)
    try:
        books = await rows.books() if rows is not None else []  # before the rows
        async with Audit(postgres_url, rows, received_since_us) as audit:
            of_postgres = await audit.positions()
            positions = of_postgres if rows is None else books
            kept = Kept(data)
            for position in positions:
                kept.check(position, report)
            if rows is not None:
                _beside(data, of_postgres, report)
            stage_books.check(data, positions, report)
            kept.check_unknown({position.incarnation for position in positions}, report)
            for one in noted(FileDisk(), data.quarantine):
                report.differs(
                    "missing", str(data.quarantine / one.name), f"{one}; remove the note when it is dealt with"
                )
            await _ads(audit, of_postgres, report)
            if rows is None:
                await _months(audit, positions, kept, report)
            else:
                if await audit.has_rows():
                    report.differs("month", "playback_events", "PostgreSQL has rows, which are to be in CQL alone")
                await cql_tables.check(rows, positions, kept, report)
            since = datetime.now(UTC) - VIEW_WINDOW
            since_us = int(since.timestamp()) * 1_000_000
            stored_views = await audit.views(since_us, received_since_us)
            reached, sums = await audit.sums(since_us)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise CannotVerify(f"PostgreSQL: {error or type(error).__name__}") from error
    except StoreError as error:
        raise CannotVerify(f"CQL: {error}") from error
    since_hour = int(since.timestamp()) // 3600
    if reached != _reached(positions):
        report.notes.append("content_views_hourly: at another position than the store, not compared")
    else:
        tables, counted = _within(stored_views, since_hour), _within(sums, since_hour)
        compare_views(tables, counted, kept, since_hour, report, "content_views_hourly", rebuilt=True)
    if redis_url:
        await _views(redis_url, stored_views, positions, kept, since, report)
    return report


def _beside(data: DataDir, positions: list[StoredPosition], report: Report) -> None:
    """PostgreSQL's equation, where it is not the store of the rows: for itself, in no sum of the report."""
    beside, kept = Report(), Kept(data)
    for position in positions:
        kept.check(position, beside)
    kept.check_unknown({position.incarnation for position in positions}, beside)
    for one in beside.differences:
        report.differs(one.what, one.where, f"PostgreSQL: {one.detail}")
    report.notes += [f"PostgreSQL: {note}" for note in beside.notes if note not in report.notes]


async def _ads(audit: Audit, positions: list[StoredPosition], report: Report) -> None:
    ads = sum(position.totals.months[ADS].rows for position in positions if ADS in position.totals.months)
    merged = await audit.ad_events()
    if ads or merged:
        report.months[ADS] = {"stored": ads, "in_table": merged}
    if ads != merged:
        report.differs("month", ADS, f"stored {ads} ad events, the rows of ad_impressions say {merged}")


async def _months(audit: Audit, positions: list[StoredPosition], kept: Kept, report: Report) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for position in positions:
        for month, totals in position.totals.months.items():
            rows, hashes = expected.get(month, (0, 0))
            expected[month] = (rows + totals.rows, (hashes + totals.hash) & MASK)
    expected.pop(ADS, None)
    present = await audit.months()
    removed = await audit.removed_months()
    for month in sorted({*present, *expected}):
        rows, hashes = expected.get(month, (0, 0))
        if month not in present:
            if month not in removed:
                report.differs("month", month, f"{rows} rows stored, and the table is gone")
            continue
        count = hash_sum = 0

        def add(tuples: list[bytes]) -> None:
            nonlocal count, hash_sum
            count += len(tuples)
            hash_sum = (hash_sum + sum(map(copy_tuple.row_hash, tuples))) & MASK

        await audit.rows(month, add)
        report.months[month] = {"stored": rows, "in_table": count}
        if (count, hash_sum) != (rows, hashes):
            if not kept.rows:
                kept.load(await audit.repairs())
            await _name(audit, month, kept, report)
            report.differs(
                "month", month, f"stored {rows} rows with hash {hashes}, the table has {count} with {hash_sum}"
            )


async def _name(audit: Audit, month: str, kept: Kept, report: Report) -> None:
    """Name the rows of a month that do not agree, as far as the spool still knows them."""
    year, number = map(int, month.split("-"))
    begin_us = int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1_000_000
    end_us = int(datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    seen: set[bytes] = set()
    ids: set[bytes] = set()

    def compare(tuples: list[bytes]) -> None:
        for row in tuples:
            key, identity = copy_tuple.event_key(row), copy_tuple.event_id(row)
            hashes = kept.rows.get(key)
            if key in seen or (hashes is None and identity in ids):
                report.differs("row_doubled", month, described(key))
            elif hashes is None and kept.whole:
                report.differs("row_unknown", month, described(key))
            elif hashes is not None and copy_tuple.row_hash(row) not in hashes:
                report.differs("row_altered", month, described(key))
            seen.add(key)
            ids.add(identity)

    await audit.rows(month, compare)
    for key in kept.rows:
        if key not in seen and begin_us <= occurred_at_us(key) < end_us:
            report.differs("row_missing", month, described(key))


async def _views(
    url: str,
    stored: dict[tuple[str, int], int],
    positions: list[StoredPosition],
    kept: Kept,
    since: datetime,
    report: Report,
) -> None:
    """The counters against the tables, when both stand at the same position."""
    client = connect(url)
    try:
        with translated():
            registration = await client.get(REGISTRATION)
            found = await client.hgetall(POSITIONS)
            counts = await views.all_by_hour(client, int(datetime.now(UTC).timestamp() * 1e6))
            again = await client.hgetall(POSITIONS)
    except StoreError as error:
        report.notes.append(f"counters: not compared: {error}")
        return
    finally:
        await client.aclose()
    reached = {name.decode(): int(sequence) for name, sequence in found.items() if int(sequence)}
    if found != again or reached != _reached(positions):
        report.notes.append("counters: at another position than the store, not compared; try again when it is quiet")
        return
    since_hour = int(since.timestamp()) // 3600
    by_hour = {(str(content), hour): count for (content, hour), count in counts.items()}
    rebuilt = bool(generation_of(registration or b""))
    tables, counted = _within(stored, since_hour), _within(by_hour, since_hour)
    compare_views(tables, counted, kept, since_hour, report, "Redis", rebuilt=rebuilt)


def _reached(positions: list[StoredPosition]) -> dict[str, int]:
    return {position.incarnation: position.sequence for position in positions if position.sequence}


def compare_views(
    tables: Counter[tuple[str, int]],
    counted: Counter[tuple[str, int]],
    kept: Kept,
    since_hour: int,
    report: Report,
    who: str,
    *,
    rebuilt: bool = False,
) -> None:
    """What `who` counted against the tables, by (content, hour since 1970); else against all kept rows.

    `rebuilt`: it was, or may have been, counted from the tables up to somewhere, and from the spool since; each count
    may be between.
    """
    report.views = sum(tables.values())
    apart = _apart(tables, counted)
    if not apart:
        return
    number = sum(apart.values())
    delivered = _within(kept.views(), since_hour)  # also what the store found to be a duplicate, or took to the dead
    wrong = _apart(delivered if kept.whole else tables, counted)
    if kept.whole and rebuilt:
        wrong = {at: views for at, views in wrong.items() if not _between(tables[at], counted[at], delivered[at])}
    if kept.whole and not wrong:
        report.notes.append(f"{number} views differ from the tables: duplicates or dead rows under other contents")
        return
    if not kept.whole and number <= VIEWS_TOLERANCE * report.views:
        report.notes.append(f"{number} of {report.views} views differ from the tables: within 1 %")
        return
    expected, which = (delivered, "spool says") if kept.whole else (tables, "tables say")
    for at in sorted(wrong):
        where = f"content {at[0]} hour {datetime.fromtimestamp(at[1] * 3600, UTC).isoformat()}"
        report.differs("views", where, f"the {which} {expected[at]}, {who} {counted[at]}")


def _within(views: Mapping[tuple[str, int], int], since_hour: int) -> Counter[tuple[str, int]]:
    """Without the hours that Redis may no longer have."""
    return Counter({at: count for at, count in views.items() if at[1] > since_hour and count})


def _between(one: int, found: int, other: int) -> bool:
    return min(one, other) <= found <= max(one, other)


def _apart(one: Counter[tuple[str, int]], other: Counter[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Where they differ, and by how many views."""
    return {at: abs(one[at] - other[at]) for at in one.keys() | other.keys() if one[at] != other[at]}
