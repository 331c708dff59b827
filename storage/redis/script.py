"""What runs in Redis, put together: Lua knows no imports, so parts are put in front of who uses them."""

from pathlib import Path


def part(name: str) -> bytes:
    """The text of a file of this directory, without `.lua`."""
    return Path(__file__).with_name(f"{name}.lua").read_bytes()


def joined(*names: str) -> bytes:
    """Parts, one behind the other."""
    return b"".join(map(part, names))
