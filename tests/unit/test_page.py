"""The page's files: all there, all in the package, what others made unchanged, and nothing from elsewhere."""

import asyncio
import fnmatch
import hashlib
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from live.page.serving import DIRECTORY, HEADERS, Page, files

CHECKOUT = Path(__file__).resolve().parents[2]
UPLOT = {  # npm's uplot 1.6.32, its dist and its licence
    "uplot/uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uplot/LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
OURS = sorted(name for name in files() if name not in UPLOT)


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page() -> list[tuple[str, dict[str, str | None]]]:
    return Elements(files()["index.html"].body.decode()).found


def test_the_chart_library_is_as_it_was_published() -> None:
    assert {name: hashlib.sha256(files()[name].body).hexdigest() for name in UPLOT} == UPLOT
    assert b"(v1.6.32)" in files()["uplot/uPlot.iife.min.js"].body[:100]
    assert b"MIT License" in files()["uplot/LICENSE"].body


def test_every_file_is_in_the_package() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["live.page"]
    lost = [name for name in files() if not any(fnmatch.fnmatch(name, pattern) for pattern in listed)]
    assert not lost
    assert (DIRECTORY / "__init__.py").is_file(), "package data belongs to a package"


def test_what_the_page_and_its_modules_ask_for_is_there() -> None:
    asked = {given for _, attributes in page() for name in ("src", "href") if (given := attributes.get(name))}
    own = {name.removeprefix("page/") for name in asked if name.startswith("page/")}
    for name in OURS:
        if name.endswith(".js"):
            imported = re.findall(r'^import .* from "\./(.*)";$', files()[name].body.decode(), re.MULTILINE)
            assert set(imported) <= files().keys(), name
            own |= set(imported)
    assert own == files().keys() - {"index.html"}, "nothing is missing, nothing is there for nothing"


@pytest.mark.parametrize("name", OURS)
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(name: str) -> None:
    text = files()[name].body.decode()
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", text), "an address"
    assert "innerHTML" not in text and "eval(" not in text
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script>|<style>", text), "the policy lets none of it run"


def test_what_is_shown_has_a_label_and_ids_are_of_one_element() -> None:
    ids = [given for _, attributes in page() if (given := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    for tag, attributes in page():
        for name in ("aria-labelledby", "aria-describedby"):
            if given := attributes.get(name):
                assert given in ids, (tag, given)
        if attributes.get("tabindex") == "0":
            assert attributes.keys() & {"aria-label", "aria-labelledby"}, "what the keyboard reaches says what it is"
    tags = [tag for tag, _ in page()]
    assert {"header", "main", "nav", "footer", "h1"} <= set(tags) and tags.count("h1") == 1
    assert sum("role" in attributes and attributes["role"] == "status" for _, attributes in page()) == 1


def test_files_come_with_their_type_a_policy_and_a_tag_that_spares_the_next_transfer() -> None:
    async def scenario() -> None:
        application = web.Application()
        application.add_routes(Page().routes())
        async with TestClient(TestServer(application)) as client:
            for name, file in files().items():
                path = "/" if name == "index.html" else f"/page/{name}"
                async with client.get(path) as answer:
                    assert answer.status == 200 and await answer.read() == file.body
                    assert answer.content_type == file.content_type and answer.charset == "utf-8"
                    assert answer.headers.items() >= HEADERS.items()
                    tag = answer.headers["ETag"]
                for given, status in ((tag, 304), (f'"x", W/{tag}', 304), ('"x"', 200)):
                    async with client.get(path, headers={"If-None-Match": given}) as answer:
                        assert (answer.status, answer.headers["ETag"]) == (status, tag)
                        assert answer.headers.items() >= HEADERS.items()
            for path in ("/page/index.html", "/page/serving.py", "/page/", "/page/../admin.py", "/page/%2e%2e/api.py"):
                async with client.get(path) as answer:
                    assert answer.status == 404, path

    asyncio.run(scenario())
