"""Two workers side by side, and tests that have the machine to themselves."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BY_FILE = ["--dist", "loadfile", "--no-loadscope-reorder"]
FILES = 4
TOLD = """
import os, time
import pytest

def lasts(name):
    begun_s = time.monotonic()
    time.sleep(0.05)
    with open({log!r}, "a") as log:
        log.write(f"{{name}} {{os.environ['PYTEST_XDIST_WORKER']}} {{begun_s}} {{time.monotonic()}}\\n")

@pytest.mark.alone
def test_measures():
    lasts("alone")

@pytest.mark.parametrize("number", range(5))
def test_waits(number):
    lasts("beside")
"""


def test_two_files_are_taken_at_a_time_and_beside_what_measures_there_is_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for number in range(FILES):
        (tmp_path / f"test_{number}.py").write_text(TOLD.format(log=str(log)))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "tests.lanes", "-n", "2", *BY_FILE],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{6 * FILES} passed" in done.stdout.splitlines()[-1]
    said = [line.split() for line in log.read_text().splitlines()]
    assert {worker for _, worker, *_ in said} == {"gw0", "gw1"}
    tests = [(name, float(begun_s), float(ended_s)) for name, _, begun_s, ended_s in said]

    def beside(one: tuple[str, float, float]) -> int:
        return sum(begun_s < one[2] and one[1] < ended_s for _, begun_s, ended_s in tests) - 1

    assert sum(name == "alone" for name, *_ in tests) == FILES
    assert not any(beside(test) for test in tests if test[0] == "alone")
    assert any(beside(test) for test in tests if test[0] == "beside")
