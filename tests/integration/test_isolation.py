"""A stream that is heard alone, in a real child process: what it says arrives, and whatever kills it kills nothing else."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from earmark.control.leases import Ended, Failed, HandedOver, Outcome
from earmark.errors import LeaseLost, SourceUnsupported
from earmark.isolation import PROBATION_S, Isolation
from earmark.model import Checkpoint, Lease, Stream
from earmark.session import Signals, Stop
from isolation_children import child

LONG_S = 60
LEASE = Lease(stream=Stream(stream_id="st-1", source="hls"), owner="one", fencing=3, checkpoint=Checkpoint(), alone=True)


class Counted:
    def __init__(self) -> None:
        self.calls: Queue[tuple[str, tuple[Any, ...], dict[str, Any]]] = Queue()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: self.calls.put((name, arguments, named))


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder, self.counted, self.nudged, self.signals = folder, Counted(), threading.Event(), Signals()

    def listen(self, how: str, *, stuck_s: float = LONG_S) -> Outcome:
        isolation = Isolation(target=child, arguments=(how, str(self.folder)), metrics=self.counted, nudge=self.nudged.set, stuck_s=stuck_s)
        return isolation.listen(LEASE, self.signals)

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text(encoding="ascii"))

    def until_it_runs(self) -> None:
        wait_for(lambda: (self.folder / "pid").exists() and (self.folder / "pid").read_text(encoding="ascii"), "the child runs")


def wait_for(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_the_child_says_happens_here(desk: Desk) -> None:
    assert desk.listen("ends") == Ended("endlist")
    assert desk.counted.calls.get_nowait() == ("heard", (), {"media_s": 2.0, "lag_s": 0.5, "clock_lag_s": None})
    assert desk.nudged.is_set()
    assert gone(desk.pid)


def test_one_that_has_not_begun_does_not_hold_up_a_hand_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.isolation._END_S", 2 * LONG_S)
    with ThreadPoolExecutor(1) as threads:
        over = threads.submit(desk.listen, "begins late")
        desk.until_it_runs()
        desk.signals.request(Stop.HANDOVER)
        assert over.result(LONG_S / 2) == HandedOver(proven=False)
    assert gone(desk.pid)


@pytest.mark.parametrize("how, sentence", [("dies", "died of signal 9"), ("exits", "died with exit code 3")])
def test_a_child_that_dies_is_the_streams_fault(desk: Desk, how: str, sentence: str) -> None:
    outcome = desk.listen(how)
    assert isinstance(outcome, Failed)
    assert outcome.blamed
    assert outcome.error.endswith(sentence)


def test_a_child_that_says_nothing_any_more_is_killed_and_has_died(desk: Desk) -> None:
    outcome = desk.listen("stuck", stuck_s=3)
    assert isinstance(outcome, Failed)
    assert outcome.blamed
    assert gone(desk.pid)


def test_a_bug_is_the_streams_fault_and_a_refusal_is_what_it_is_anywhere(desk: Desk) -> None:
    assert desk.listen("bug") == Failed("a bug: KeyError: 'x'", blamed=True)
    with pytest.raises(SourceUnsupported, match="there is no audio in it"):
        desk.listen("refused")


def in_background(desk: Desk, how: str, threads: ThreadPoolExecutor) -> "Future[Outcome]":
    """It hears: what it says has arrived."""
    future = threads.submit(desk.listen, how)
    desk.signals.nudge()
    assert desk.counted.calls.get(timeout=LONG_S) == ("told", ("woken",), {})
    return future


def test_a_nudge_and_a_stop_arrive(desk: Desk) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = in_background(desk, "waits", threads)
        desk.signals.request(Stop.HANDOVER)
        assert future.result(LONG_S) == HandedOver(proven=False)


def test_a_lease_that_is_lost_is_lost_in_the_child_too(desk: Desk) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = in_background(desk, "waits", threads)
        desk.signals.request(Stop.LOST)
        with pytest.raises(LeaseLost):
            future.result(LONG_S)


def test_what_goes_wrong_before_it_hears_is_nobodys_fault(desk: Desk) -> None:
    outcome = desk.listen("never begins")
    assert outcome == Failed("the process that heard it alone died with exit code 3 before it had begun", blamed=False)


def test_a_stop_does_not_wait_until_it_hears(desk: Desk) -> None:
    desk.signals.request(Stop.HANDOVER)
    assert desk.listen("stuck") == HandedOver(proven=False)


def test_after_its_probation_it_is_handed_over(desk: Desk) -> None:
    assert desk.listen("hears") == HandedOver()
    heard_s = sum(named["media_s"] for name, _, named in list(desk.counted.calls.queue) if name == "heard")
    assert PROBATION_S <= heard_s < PROBATION_S + 60


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parents, and tells who is spared when memory runs out")
def test_it_dies_with_its_worker_and_is_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    program = """
import sys
from test_isolation_desk import Desk
from pathlib import Path
Desk(Path(sys.argv[1])).listen("waits")
"""
    (tmp_path / "test_isolation_desk.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *(place for place in sys.path if place)])}
    worker = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment)
    try:
        desk = Desk(tmp_path)
        desk.until_it_runs()
        assert Path(f"/proc/{desk.pid}/oom_score_adj").read_text(encoding="ascii").strip() == "1000"
    finally:
        worker.kill()
        worker.wait(LONG_S)
    wait_for(lambda: gone(desk.pid), "the child is gone")
