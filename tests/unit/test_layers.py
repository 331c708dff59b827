"""What must stay true of the code itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

UPSTREAM = {
    "config": set[str](),
    "sdk": set(),
    "ingest": {"config", "sdk"},
    "storage": {"config", "ingest"},
    "live": {"config", "ingest", "storage"},
    "gateway": {"config", "ingest", "storage", "live"},
    "loadtests": set[str](),  # the crowd judges us by what it sent and was answered, so it knows nothing of ours
}
LINES_MAX = 300
TEST_LINES_MAX = 400  # a page of tests is a list of sentences, which is read one by one
LONGER_FILES: dict[str, str] = {}  # path → why it is one noun
NOT_NOUNS = {"util", "utils", "manager", "handler", "helper", "helpers", "common", "base", "misc", "tools"}
UNIT_FIRST = re.compile(r"^(?:timeout|interval|size|length|latency|duration|delay|age)$")


def sources(package: str) -> list[Path]:
    """The package's Python files."""
    return sorted((CHECKOUT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names of the absolute imports in a file, wherever they stand in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides what it imports"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", UPSTREAM)
def test_imports_point_upstream(package: str) -> None:
    ours = UPSTREAM.keys() | {"tests"}  # the demo alone may bring the crowd in
    for path in sources(package):
        crowd = {"loadtests"} if path.relative_to(CHECKOUT).as_posix().startswith("gateway/demo") else set[str]()
        assert imports(path) & (ours - {package}) <= UPSTREAM[package] | crowd, path


def test_the_entry_needs_the_standard_library_alone() -> None:
    ours_and_theirs = imports(CHECKOUT / "gw") - set(__import__("sys").stdlib_module_names)
    assert ours_and_theirs == set()


def test_pages_of_code_hold_one_noun() -> None:
    for package in [*UPSTREAM, "tests"]:
        for path in sources(package):
            name = path.relative_to(CHECKOUT).as_posix()
            lines = path.read_text("utf-8").count("\n")
            most = TEST_LINES_MAX if package == "tests" else LINES_MAX
            assert lines <= most or name in LONGER_FILES, f"{name} has {lines} lines"
    for name in LONGER_FILES:
        assert (CHECKOUT / name).read_text("utf-8").count("\n") > LINES_MAX, f"{name} is no exception any more"


def names(path: Path) -> Iterator[str]:
    """The file's name and those of the classes in it."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("package", UPSTREAM)
def test_names_say_what_a_thing_is(package: str) -> None:
    for path in sources(package):
        for directory in path.relative_to(CHECKOUT).parts[:-1]:
            assert directory not in NOT_NOUNS, path
        for name in names(path):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+", name)}
            assert not words & NOT_NOUNS, f"{path}: {name}"


@pytest.mark.parametrize("package", UPSTREAM)
def test_quantities_carry_their_unit(package: str) -> None:
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.arg) and node.annotation is not None:
                numeric = isinstance(node.annotation, ast.Name) and node.annotation.id in {"int", "float"}
                assert not (numeric and UNIT_FIRST.match(node.arg)), f"{path}:{node.lineno}: {node.arg} of what?"


@pytest.mark.parametrize("package", UPSTREAM)
def test_files_say_what_they_are(package: str) -> None:
    for path in sources(package):
        text = path.read_text("utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), path


def test_addresses_are_literal() -> None:
    for package in UPSTREAM:
        for path in sources(package):
            assert "localhost" not in path.read_text("utf-8"), f"{path}: the name may be looked up, 127.0.0.1 is not"
