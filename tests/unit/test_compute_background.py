"""What has no hurry: begun only where nothing live waits, counted apart, and within a share of the time."""

import threading
import time

import pytest

from earmark.compute import Compute


@pytest.fixture
def compute():
    made = Compute().start()
    yield made
    made.close()


class Held:
    """Something else on the compute thread, until it is let go: what is asked for meanwhile waits, and all of it is there when it is chosen from."""

    def __init__(self, compute: Compute) -> None:
        self._compute, self._release = compute, threading.Event()
        begun = threading.Event()
        self._threads = [threading.Thread(target=compute.run, args=(lambda: (begun.set(), self._release.wait(10)),))]
        self._threads[0].start()
        assert begun.wait(10)

    def ask(self, call, *args) -> None:
        before = self._submitted()
        self._threads.append(threading.Thread(target=call, args=args))
        self._threads[-1].start()
        while self._submitted() == before:
            time.sleep(0.001)

    def _submitted(self) -> int:
        return len(self._compute._waiting) + len(self._compute._in_background)

    def let_go(self) -> None:
        self._release.set()
        for thread in self._threads:
            thread.join(10)


def test_a_live_stream_beside_three_files_goes_first_whatever_came_first(compute):
    order: list[str] = []
    held = Held(compute)
    for number in range(3):
        held.ask(compute.background.run, order.append, f"file {number}")
    for number in range(4):
        held.ask(compute.run, order.append, f"live begins {number}")
        held.ask(compute.go_on, order.append, f"live goes on {number}")
    held.let_go()
    assert order == [*(f"live goes on {n}" for n in range(4)), *(f"live begins {n}" for n in range(4)), *(f"file {n}" for n in range(3))]


def test_between_two_jobs_of_a_file_whatever_is_live_by_then_goes_first(compute):
    """A file that always has a next job never gets two turns in a row while a stream has one."""
    order: list[str] = []
    go_on = threading.Event()

    def file(number: int) -> None:
        order.append(f"file {number}")
        if number == 0:
            go_on.set()
            while not compute._waiting:  # a live job comes while this one runs
                time.sleep(0.001)

    def jobs() -> None:
        for number in range(3):
            compute.background.run(file, number)

    thread = threading.Thread(target=jobs)
    thread.start()
    assert go_on.wait(10)
    compute.run(order.append, "live")
    thread.join(10)
    assert order == ["file 0", "live", "file 1", "file 2"]


def test_results_and_errors_come_back(compute):
    assert compute.background.run(lambda a, *, b: (a + b, threading.current_thread().name), 2, b=3) == (5, "compute")
    with pytest.raises(ZeroDivisionError):
        compute.background.go_on(lambda: 1 / 0)
    assert compute.background.run(lambda: "still here") == "still here"


def test_what_is_in_the_background_is_no_load():
    now = [100.0]
    compute = Compute(clock=lambda: now[0]).start()
    seen = {}

    def work() -> None:
        now[0] += 4.0
        seen["oldest"] = compute.oldest_job_s

    compute.background.run(work)
    compute.run(lambda: None)  # the figures of `work` are written before the next job runs
    assert seen["oldest"] == 4.0, "a job that will not come back is noticed all the same"
    assert compute.oldest_job_s == 0.0
    assert compute.busy_share == 0.0
    assert compute.background_share == pytest.approx(0.4)
    compute.close()


def test_a_job_that_waits_in_the_background_is_not_an_old_one(compute):
    held = Held(compute)
    oldest = compute._waiting[0]
    held.ask(compute.background.run, int)
    assert compute._waiting == [oldest]
    held.let_go()
    assert compute.oldest_job_s == 0.0


def test_beside_streams_it_keeps_to_its_share_and_without_any_it_takes_all():
    now = [100.0]

    def spend(seconds: float) -> None:
        now[0] += seconds

    compute = Compute(background_share_max=0.25, clock=lambda: now[0])
    compute._in_background.append(object())
    assert compute._background_in_s() == 0.0
    compute._count(None, 100.0, 101.0, background=True)
    assert compute._background_in_s() == 0.0, "nothing is live"
    compute._busy.append((100.9, 101.0))
    spend(1.0)
    assert compute._background_in_s() > 0, "three seconds are the others'"
    spend(2.99)
    assert compute._background_in_s() == pytest.approx(0.01, abs=1e-6)
    spend(0.01)
    assert compute._background_in_s() == 0.0
    compute._count(None, 104.0, 105.0, background=True)
    spend(8.0)
    assert compute._background_in_s() == 0.0, "what was live is long ago"


def test_who_waits_in_the_background_when_it_closes_is_told():
    compute = Compute().start()
    held, caught = Held(compute), []

    def ask() -> None:
        try:
            compute.background.run(int)
        except RuntimeError as error:
            caught.append(str(error))

    held.ask(ask)
    compute.close(limit_s=0.01)
    held.let_go()
    compute.close()
    assert caught == ["the compute thread is closed"]
