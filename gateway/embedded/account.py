"""The account PostgreSQL runs under. It refuses root, and it refuses an account that has no name.

self        we are a plain account with a name: that one
namespace   as root or nameless: a user namespace in which we are called `nobody`; files stay ours
nobody      as root where namespaces are refused (a chroot, most containers): `nobody` itself; the data becomes its
"""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
_TRY_TIMEOUT_S = 20


class NoAccount(Exception):
    """PostgreSQL does not run as root, and no other account could be taken."""


@dataclass(frozen=True)
class Account:
    """How child.py is to take the account, and the numeric ids its files have as seen from here."""

    way: str
    uid: int
    gid: int

    def command(self, program: list[str], end_signal: int, directories: list[Path]) -> list[str]:
        """The command line that runs `program` under this account (child.py's docstring has the arguments)."""
        python = [sys.executable, "-I", "-S", str(CHILD)]
        return [*python, self.way, str(int(end_signal)), str(os.getpid()), *map(str, directories), "--", *program]


def own_account() -> Account:
    """The account this process runs under."""
    return Account("self", os.geteuid(), os.getegid())


def account_for_postgres(postgres: Path, data_dir: Path) -> Account:
    """The first account that can run the program `postgres` and enter `data_dir`; raises NoAccount saying what was in
    the way.

    Under `nobody`, data_dir itself is opened to be passed through (o+x), never a directory above it.
    """
    own = own_account()
    if own.uid != 0 and _has_name(own.uid):
        return own
    ways = [Account("namespace", own.uid, own.gid)]
    if own.uid == 0:
        nobody = pwd.getpwnam("nobody")
        ways += [Account(way, nobody.pw_uid, nobody.pw_gid) for way in ("nobody", "passing")]
    refusals = []
    for account in ways:
        if account.way == "nobody":
            data_dir.chmod(data_dir.stat().st_mode | 0o001)
        refusal = _refusal(account, postgres, data_dir)
        if refusal is None:
            return account
        refusals.append(f"as {account.way}: {refusal}")
    who = "root" if own.uid == 0 else "an account without a name"
    raise NoAccount(
        f"PostgreSQL does not run as {who}, and no other account could be taken here ({'; '.join(refusals)}). "
        "Start the gateway as a plain user, or keep it and its data directory where every account may enter "
        "(such as /srv), or name a server of your own in INGEST_POSTGRES_URL."
    )


def _refusal(account: Account, postgres: Path, data_dir: Path) -> str | None:
    command = account.command([str(postgres), "--version"], 0, [data_dir])
    tried = subprocess.run(command, capture_output=True, text=True, timeout=_TRY_TIMEOUT_S, check=False, cwd="/")
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
