"""Takes the account a server is to run under, ties its own life to its parent's, and becomes the server.

Started by its path with `python -I -S`, so it imports the standard library alone. Doing this in a program of its own
keeps the gateway from running Python between fork and exec, where a lock held by another thread would never be
released.

    child.py ACCOUNT SIGNAL PARENT_PID [DIRECTORY...] -- PROGRAM [ARGUMENT...]

ACCOUNT is "self", "namespace" or "nobody" (see account.py); SIGNAL the number of the signal that ends the server, sent
by the kernel when the parent dies; each DIRECTORY one that the account must be able to enter. What is in the way is
said in one line on the standard error output, with exit code 126.
"""

import ctypes
import os
import pwd
import signal
import sys
import time
from typing import NoReturn

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h, as the next three
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2  # linux/securebits.h
CAP_DAC_OVERRIDE = 1  # linux/capability.h, as the next one
LINUX_CAPABILITY_VERSION_3 = 0x20080522
REFUSED = 126  # what a shell answers for a program it found and could not run
NICENESS = 5  # where cores are short, players are answered first: the spool waits for a store, they do not
AUTOGROUP_ATTEMPTS_MAX = 20
AUTOGROUP_WAIT_S = 0.05


def refuse(reason: str) -> NoReturn:
    """Say why in one line and exit with REFUSED."""
    print(reason, file=sys.stderr)
    sys.exit(REFUSED)


def libc_call(name: str, *arguments: object) -> None:
    """Call a function of the C library that answers 0 or -1; raises OSError with its errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def enter_namespace() -> None:
    """Call ourselves `nobody`: in a user namespace of our own, where that name stands for the account we already are.

    Files stay owned by, and open to, the account outside: no other account's permission is needed anywhere on the path.
    """
    nobody = pwd.getpwnam("nobody")
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    libc_call("unshare", CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),  # the kernel wants this before an unprivileged gid_map
        ("uid_map", f"{nobody.pw_uid} {outside_uid} 1"),
        ("gid_map", f"{nobody.pw_gid} {outside_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def become_nobody() -> None:
    """Give root up for the account `nobody`; files must be open to it."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def become_nobody_passing() -> None:
    """Give root up for `nobody` but for one of its powers, CAP_DAC_OVERRIDE, and hand that on to the server."""
    libc_call(
        "prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0
    )  # without it access(2) would forget the power
    become_nobody()
    power = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(power, power, power, 0, 0, 0)  # effective, permitted, inheritable; then the high words
    libc_call("capset", header, sets)
    libc_call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


ACCOUNTS = {
    "self": lambda: None,
    "namespace": enter_namespace,
    "nobody": become_nobody,
    "passing": become_nobody_passing,
}


def obstacle(path: str) -> str | None:
    """The first directory above `path` that this account cannot enter; None when there is none."""
    parts = path.split("/")
    for length in range(2, len(parts)):
        step = "/".join(parts[:length])
        try:
            os.stat(f"{step}/.")
        except OSError:
            return step
    return None


def give_way(niceness: int) -> None:
    """Ask for less of a core where cores are short: as a process and, where we lead a session, as that.

    Linux may share cores between sessions first (autogroup), each of which then has as much as any other whatever its
    processes ask for; and every process of the gateway leads its own.
    """
    os.nice(niceness)
    if os.getsid(0) != os.getpid():
        return
    for _ in range(AUTOGROUP_ATTEMPTS_MAX):
        try:
            descriptor = os.open("/proc/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"%d" % niceness)
            finally:
                os.close(descriptor)
        except BlockingIOError:  # of all accounts but root's ten may a second, together
            time.sleep(AUTOGROUP_WAIT_S)
        except OSError:  # there is no such thing here
            return
        else:
            return


def main() -> NoReturn:
    split = sys.argv.index("--")
    account, end_signal, parent_pid, *directories = sys.argv[1:split]
    program = sys.argv[split + 1 :]
    try:
        ACCOUNTS[account]()
    except (OSError, KeyError) as error:
        refuse(str(error))
    for path in (program[0], *(f"{directory}/." for directory in directories)):
        closed = obstacle(path)
        if closed is not None:
            refuse(f"{closed} is closed to it")
    if sys.platform == "linux":
        libc_call("prctl", PR_SET_PDEATHSIG, int(end_signal))  # after the change of account, which clears it
        if os.getppid() != int(parent_pid):
            refuse("the gateway is gone already")  # it died before the kernel knew whom to tell
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    os.umask(0o077)
    give_way(NICENESS)
    try:
        os.execv(program[0], program)  # noqa: S606  no shell is meant
    except OSError as error:
        refuse(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
