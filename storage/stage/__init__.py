"""The session stage: lines of CMCD, of all spools, become rows and signals in a spool of its own. This is what it does.

    spools of collectors ──▶ window ──▶ session ──▶ state.db (one transaction) ──▶ a spool of its own ──▶ every reader
        frames of CMCD        2 s         judge      states · positions · rows       playback, signals

What a line means depends on its session's earlier lines, which may lie in other spools. A line waits WINDOW_US behind
its receipt for those that were overtaken; then it is judged behind its predecessors, by `sn`. What comes later than
that is judged by itself, or by its neighbours among the late, and changes nothing that was written. So rows are a
function of the lines and of when each was received, whoever received it and in whichever requests.

One stream of lines is (owner, session, target): a player counts `sn` for each target.

Exactly once: one transaction of SQLite holds what a turn decided (the streams' states, how far the spools were read,
and the rows themselves, with the place in the stage's own log at which they are to stand); only then are the rows
appended. Behind a crash the log's length says how many of that turn's frames are in it, and the others are appended.
Nothing is decided twice.

    DATA/stage/lock      flock-ed by the stage at work
    DATA/stage/state.db  SQLite, WAL, synchronous=FULL (storage/stage/schema.sql)

Books: every line read is one of: a row, a signal, folded (it changed nothing: resends, too). A stall's line is a signal
when the stall begins and a row when it is over, and counted as `stalls`, so

    lines + stalls = rows + signals + folded
"""
