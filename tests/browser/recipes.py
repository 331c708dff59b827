"""README's recipes for players, as they stand there."""

from __future__ import annotations

import json
import re
from typing import Final

from tests.needs import CHECKOUT

RECIPE: Final = r"^\*\*{name}\*\*\n\n```js\n(?P<script>.*?)^```$"
LINES_MAX: Final = 8


def recipe(name: str) -> str:
    """The script under this name; fails when there is none, or a longer one than people paste."""
    found = re.search(RECIPE.format(name=re.escape(name)), (CHECKOUT / "README.md").read_text("utf-8"), re.M | re.S)
    assert found is not None, f"README has no recipe for {name}"
    script = found["script"]
    assert script.count("\n") <= LINES_MAX, script
    return script


def filled_in(script: str, makes: str, **names: str) -> str:
    """A module that runs the script with these names, and exports the variable that the script makes."""
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in names.items())
    return f"{constants}{script}export {{ {makes} }};\n"
