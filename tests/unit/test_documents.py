"""What the documents link to is there: files, and headings by the anchor that GitHub makes of them."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.needs import CHECKOUT

LINK: Final = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
FENCED: Final = re.compile(r"^```.*?^```$", re.M | re.S)
CODE: Final = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.S)
DOCUMENTS: Final = [
    path.relative_to(CHECKOUT).as_posix()
    for path in (CHECKOUT / "README.md", CHECKOUT / "ARCHITECTURE.md", *sorted((CHECKOUT / "docs").glob("*.md")))
]


def anchors(text: str) -> set[str]:
    """Of every heading: lower case, without punctuation, a hyphen for each space."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """Where it points to, web addresses left out; what stands in code is no link."""
    plain = CODE.sub("code", FENCED.sub("", text))
    found = [inline or image for inline, image in LINK.findall(plain)]
    return [link for link in found if not link.startswith(("http://", "https://"))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_of_a_document_leads_somewhere(name: str) -> None:
    document = CHECKOUT / name
    for link in links(document.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_documents_have_links() -> None:
    assert len(links((CHECKOUT / "README.md").read_text("utf-8"))) > 20
