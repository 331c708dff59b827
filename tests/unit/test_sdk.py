"""The browser module: small, all of it in the package, what it offers in its types, and nothing lost on its way out."""

import fnmatch
import gzip
import re
import tomllib
from pathlib import Path

import sdk

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = (sdk.DIRECTORY / "streamverse.js").read_text()
TYPES = sdk.types().decode()
QUOTED = re.compile(r'"[^"\n]*"|`[^`]*`')


def interface(name: str) -> set[str]:
    """Names of what an interface of the types has."""
    body = re.search(rf"export interface {name} {{(.*?)\n}}", TYPES, re.DOTALL)
    assert body
    return set(re.findall(r"^  (?:readonly )?(\w+)\??[:(]", body[1], re.MULTILINE))


def test_it_is_four_kilobytes_at_most() -> None:
    assert len(gzip.compress(sdk.module(), 9, mtime=0)) <= sdk.SERVED_MAX_BYTES


def test_what_is_served_is_the_source_without_comments_and_indentation() -> None:
    assert not [text for text in QUOTED.findall(SOURCE) if " //" in text or "\n" in text], "no text is taken for one"
    assert "/*" not in re.sub(r"/\\/\*\$/", "", SOURCE), "no comment but of lines"
    code = [re.sub(r"(^|\s)//( .*)?$", "", line).strip() for line in SOURCE.splitlines()]
    assert sdk.module().decode().splitlines() == [line for line in code if line]


def test_every_name_and_option_is_in_its_types() -> None:
    assert re.findall(r"^export const (\w+)", SOURCE, re.MULTILINE) == re.findall(
        r"^export function (\w+)", TYPES, re.M
    )
    options = re.search(r"= \(\n  video,\n  \{\n(.*?)\n  \},\n\) => \{", SOURCE, re.DOTALL)
    assert options
    assert set(re.findall(r"^    (\w+)", options[1], re.MULTILINE)) == interface("Options")
    offered = SOURCE[SOURCE.rindex("\n  return {") :]
    names = re.findall(r"^    (?:get |set |async )?(\w+)(?:\(|:|,)", offered, re.MULTILINE)
    assert set(names) == interface("Reporting")


def test_nothing_comes_from_elsewhere() -> None:
    assert not re.search(r"\bimport\b(?!\.meta)|\bimport\(|eval\(|innerHTML", sdk.module().decode())


def test_its_files_are_in_the_package_and_in_the_image() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    names = [path.name for path in sdk.DIRECTORY.iterdir() if path.suffix not in (".py", "") and path.is_file()]
    assert sorted(names) == ["streamverse.d.ts", "streamverse.js"]
    assert all(any(fnmatch.fnmatch(name, one) for one in listed["package-data"]["sdk"]) for name in names)
    assert "sdk*" in listed["packages"]["find"]["include"]
    assert "COPY sdk sdk\n" in (CHECKOUT / "Dockerfile").read_text()
    assert "!sdk\n" in (CHECKOUT / ".dockerignore").read_text()
