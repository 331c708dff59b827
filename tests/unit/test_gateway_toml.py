"""config/gateway.toml shows every setting with its default, so that what people copy from it is true."""

import tomllib
from pathlib import Path

from msgspec import to_builtins

from config.settings import Settings

SHOWN = Path(__file__).parents[2] / "config" / "gateway.toml"


def test_the_shown_settings_are_all_settings_with_their_defaults() -> None:
    assert tomllib.loads(SHOWN.read_text("utf-8")) == to_builtins(Settings())
