"""What a supervisor hands on arrives whole, once, and nowhere else."""

import fcntl
import os
import subprocess
import sys
import threading

import msgspec
import pytest

from gateway import handover, restart_status
from gateway.handover import VARIABLE, Handover, Running, RunningServer
from gateway.layout import DataDir
from gateway.published import write_pid
from gateway.restart_status import Replaced, RestartStatus

BECOMES = """
import os, signal, socket, sys
from gateway import handover
got = handover.received()
if got is None:
    listening = socket.create_server(("127.0.0.1", 0))
    lock = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
    __import__("fcntl").flock(lock, 2)
    print(os.getpid(), listening.getsockname()[1], flush=True)
    handover.hold_signals()
    handover.become(handover.Handover(os.getpid(), listening.fileno(), listening.fileno(), lock, 4, ()))
assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "held back until somebody listens"
assert not os.get_inheritable(got.lock) and handover.VARIABLE not in os.environ
print(os.getpid(), socket.socket(fileno=got.http).getsockname()[1], got.restart, flush=True)
sys.stdin.read()
"""


def test_the_next_program_of_the_process_holds_socket_and_lock(tmp_path):
    command = [sys.executable, "-c", BECOMES, str(tmp_path / "lock")]
    became = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert became.stdout is not None
    first, second = became.stdout.readline().split(), became.stdout.readline().split()
    assert second == [*first, "4"]
    with open(tmp_path / "lock", "rb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    became.communicate()
    assert became.returncode == 0


def test_everything_comes_back_and_no_child_sees_it(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    told = Handover(
        os.getpid(), descriptor, descriptor, descriptor, 3, (Running("collector", 0, 12, 1),), RunningServer(5, 6, 0)
    )
    environment = {VARIABLE: msgspec.json.encode(told).decode(), "PATH": "/bin"}
    assert handover.received(environment) == told
    assert environment == {"PATH": "/bin"}
    assert handover.received(environment) is None
    os.close(descriptor)


@pytest.mark.parametrize("text", ["", "x", "{}", '{"pid":1,"http":0,"admin":0,"lock":0,"restart":0,"children":[]}'])
def test_one_that_is_not_ours_is_refused(text):
    with pytest.raises(ValueError, match=VARIABLE):
        handover.received({VARIABLE: text})


def test_an_exec_that_cannot_be_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        handover.become(Handover(os.getpid(), descriptor, descriptor, descriptor, 1, ()))
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_restart_s_status_comes_back_and_what_is_no_status_is_none(tmp_path):
    assert restart_status.read(tmp_path) is None
    told = RestartStatus(2, "failed", "why", (Replaced("collector", 0, 1, 2),))
    restart_status.write(tmp_path, told)
    assert restart_status.read(tmp_path) == told
    (tmp_path / restart_status.FILE).write_text("{")
    assert restart_status.read(tmp_path) is None
    restart_status.write(tmp_path / "none", told)  # a disk that refuses is no reason to end


def test_the_pid_of_a_running_gateway_is_its_own(tmp_path):
    data = DataDir(tmp_path)
    data.make()
    (data.run / "pid").write_text(f"{os.getpid()}\n")
    assert data.pid_of_running() is None, "nobody has the lock"
    lock = data.lock()
    assert data.pid_of_running() == os.getpid()
    (data.run / "pid").write_text(f"{os.getppid()}\n")
    assert data.pid_of_running() is None, "somebody has it, and not this one"
    os.close(lock)


def test_a_gateway_that_opens_and_closes_files_has_not_ended(tmp_path):
    data = DataDir(tmp_path)
    data.make()
    write_pid(data)
    lock = data.lock()
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for descriptor in [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]:
                os.close(descriptor)
            write_pid(data)

    working = threading.Thread(target=work)
    working.start()
    try:
        assert {data.pid_of_running() for _ in range(1_000)} == {os.getpid()}
    finally:
        done.set()
        working.join()
        os.close(lock)
