"""The derivable reader Redis: views by content and hour, live viewers by leases.

    frames ─▶ sign.py  one entry a session of a batch ─▶ counters.py, the sink ─▶ apply.lua  positions and effects
              key.py   what is kept under which name     gap.py  what the spool can no longer tell     connection.py
              entry.py  what the script is handed     sample.lua session.lua owner.lua  its parts, joined by script.py
    rows of the store ─▶ sign.py ─▶ rebuild.py, the same counts beside those in force ─▶ apply.lua · switch.lua

Which event does what (DESIGN §3, §4; players.md §1.5: a heartbeat is not a viewer, only playing is):

    play                         a view     a viewer from now on
    heartbeat, seek, buffering,             a viewer, unless the session paused or ended on this content
      quality_change
    pause                                   stays one for a lease, if it was one; heartbeats behind it do not count
    stop, completed                         no viewer; heartbeats behind it do not bring it back
    error                                   nothing: no field says whether it was fatal, silence ends the lease

A lease runs from the sign's corrected time, and never from later than its receipt: a clock ahead of ours holds no seat.
A sign whose lease is over when it is read enters no live count. Events with `test` are in no number.

Within a session `sequence` decides what is newer where both signs have it, corrected time otherwise. So that the result
does not depend on the order of arrival, a session keeps the newest of four: state (play, pause, end) and sign of life
(play, heartbeat, …), each by sequence and by time; a sign that is older than these, or one of them, moves nothing. The
corrected time of a broken clock differs from one resend to the next; a sign without a sequence is therefore known
again by its event id (the last 32 of a session). A session that names another content in its newest sign has left the
first one.
"""
