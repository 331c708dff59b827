"""The statements of queries.sql, by name."""

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^-- ([a-z][a-z_]*): ")


def parse(text: str) -> dict[str, str]:
    """name → statement. A statement begins with a line `-- name: what it does`; more comment lines may follow.

    Raises ValueError for a name that comes twice or has no statement, and for a statement without a name.
    """
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if match := _NAME.match(line):
            if match[1] in found:
                raise ValueError(f"{match[1]} comes twice")
            lines = found[match[1]] = []
        elif line.strip() and not line.startswith("--"):
            if lines is None:
                raise ValueError(f"a statement without a name: {line}")
            lines.append(line.rstrip())
    if empty := [name for name, body in found.items() if not body]:
        raise ValueError(f"no statement: {', '.join(empty)}")
    return {name: "\n".join(body) for name, body in found.items()}


STATEMENTS: Final = parse((Path(__file__).parent / "queries.sql").read_text("utf-8"))
