"""Quality of experience (CTA-2066): what viewers had of it, minute by minute, by content, platform, edge and country.

A derivable reader that holds everything in memory, and whose one file is its state together with its positions:

    sign.py      tuples of a run → the signs of the sessions that are followed (by both cores)
    session.py   one session: what a sign says of the time since the one before it (pure)
    figures.py   sums of a minute by the values of a dimension; those of a window of minutes (pure)
    fold.py      all sessions: put in order, followed or not, ended by silence, forgotten (pure)
    state.py     fold and positions as one file
    reader.py    the sink `qoe`
    answer.py    the figures of a window as they are told (pure)

Terms. A *session* is a session_id. It *starts* with the first sign that something plays: `startup_ms`, a `play`, or a
heartbeat with a position above 0. *Watched time* is wall-clock time from the request to a pause, the end or the
failure: start-up, stalls and seeks are in it, pauses are not; a silence longer than a lease is not either. *Media time*
is watched time in which something played. A *stall* is buffering while something plays, and no seek of the last two
seconds; it is as long as `buffer_duration` says, else until the next sign that something plays. An `error` is a
*failure* when nothing plays behind it within a lease: players report errors that they get over, too. An *exit before
start* is a session that ends, or falls silent, without start or error. *Delivery loss* is gaps in `sequence`.

Not in any figure: test traffic, events received more than 15 minutes after they happened, and the past of sessions that
were met in their middle.
"""
