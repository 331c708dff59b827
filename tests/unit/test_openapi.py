"""openapi.json names every route of the admin port, and no other."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
from aiohttp import web

from config.settings import Settings
from gateway.admin import Admin
from gateway.layout import DataDir
from gateway.openapi import description
from live.page.serving import PAGE, files


def routes(data: Path) -> set[tuple[str, str]]:
    """Path and method of what is served."""

    async def made() -> web.Application:
        supervisor = SimpleNamespace(data=DataDir(data), settings=Settings(), stores=SimpleNamespace(redis_url=""))
        return Admin(cast(Any, supervisor)).application()

    application = asyncio.run(made())
    return {
        (route.resource.canonical, route.method.lower())
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def test_it_describes_every_route_and_no_other(tmp_path: Path) -> None:
    document = orjson.loads(description("1.2.3"))
    assert document["info"]["version"] == "1.2.3"
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == routes(tmp_path)


def test_it_names_every_file_of_the_page() -> None:
    (parameter,) = orjson.loads(description("1.2.3"))["paths"]["/page/{file}"]["get"]["parameters"]
    assert set(parameter["schema"]["enum"]) == files().keys() - {PAGE}
