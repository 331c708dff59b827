"""Real faults: processes, servers and disks of a real gateway are broken under a crowd, and everything is counted.

    __main__.py         `./gw faults`: the table, or one line a fault with --list
    trial.py            rounds: a crowd plays, a fault strikes, the crowd is heard out, the stores are judged
    stage.py            a running gateway, the crowds that ever played to it, and their one ledger
    table.py            what is printed
    fault.py            what a fault is; all of them, in the order in which they strike
    killing.py          SIGKILL of each process, of PostgreSQL and Valkey, of everything at once
    stopping.py         SIGSTOP of a store; of a drain past its replacement
    disk.py             full_disk.py: the data directory on a small disk of its own, filled up and freed
    fsync_shim.c        failing_fsync.py: fsync of the spool says EIO (or, for the benchmark, does nothing)
    lost_counters.py    Valkey emptied, wiped, emptied too late
    restored_store.py   PostgreSQL set back to an earlier state, within and beyond what the spool keeps
    fewer_workers.py    four collectors' full spool, one collector after it
    staging.py          an instance that runs already and is to go on running
    speed.py            what durability costs: fsync on and off, catching up, starting with a full spool

Nothing here imports the product: it is met by its command line, its ports, its data directory and its pids, and judged
by what it answered. Every choice comes from a seed; the moment of a blow is as exact as the machine's timing.

Power cannot be cut here: that what was not fsynced is lost is tried by the simulation, not by this.
"""
