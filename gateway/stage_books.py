"""For `verify`: the books of the session stage, against themselves, the store's positions and the stage's own logs."""

import sqlite3
from collections.abc import Sequence

from gateway.layout import DataDir
from gateway.report import Report
from storage.postgres.audit import StoredPosition
from storage.stage import state_file
from storage.stage.state_file import Damaged, StateFile
from storage.stage.store import DIRECTORY


def check(data: DataDir, positions: Sequence[StoredPosition], report: Report) -> None:
    """Where store and stage are at the same position of an incarnation, its lines have to be as many; and each of the
    stage's logs has to hold what the stage wrote.
    """
    path = data.root / DIRECTORY / state_file.NAME
    try:
        file = StateFile(path, reads_only=True)
    except FileNotFoundError:
        if any(position.totals.staged for position in positions):
            report.notes.append(f"{path} is not there: lines of CMCD wait for their stage")
        return
    except (sqlite3.Error, Damaged) as error:
        report.differs("stage", str(path), str(error))
        return
    try:
        books, staged, logs = file.books(), file.positions(), file.logs()
    except sqlite3.Error as error:
        report.differs("stage", str(path), str(error))
        return
    finally:
        file.close()
    report.totals |= {f"stage_{name}": number for name, number in books._asdict().items()}
    if not books.balanced:
        report.differs("equation", "stage", f"lines + stalls are not rows + signals + folded: {books}")
    elsewhere = 0
    for position in positions:
        name, totals = position.incarnation, position.totals
        judged = staged.get(name)
        if judged is None or judged.sequence != position.sequence:
            elsewhere += totals.staged
        elif judged.lines != totals.staged:
            report.differs("equation", name, f"the store passed over {totals.staged} lines, the stage {judged.lines}")
        log = logs.get(name)
        if log is not None and log.frames == position.sequence:
            found = totals.rows, totals.signals
            if found != (log.rows, log.signals) and not totals.quarantined.rows + totals.quarantined.signals:
                report.differs("equation", name, f"rows and signals: the stage wrote {log[1:]}, the log has {found}")
    if elsewhere:
        report.notes.append("stage: at another position than the store, its lines not compared")
