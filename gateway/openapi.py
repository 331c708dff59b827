"""What the admin port serves, as OpenAPI 3.1: openapi.json beside this file, kept by hand and held to by tests."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson


@cache
def description(version: str) -> bytes:
    """The document, of this version of the gateway."""
    document: dict[str, Any] = orjson.loads(Path(__file__).with_name("openapi.json").read_bytes())
    document["info"]["version"] = version
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
