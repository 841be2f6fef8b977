"""One compute thread: order, errors and the two figures that admission looks at."""

import threading
import time

import pytest

from earmark.compute import Compute


@pytest.fixture
def compute():
    made = Compute().start()
    yield made
    made.close()


def test_runs_on_its_own_thread_and_returns_the_result(compute):
    assert compute.run(lambda a, *, b: (a + b, threading.current_thread().name), 2, b=3) == (5, "compute")


def test_an_error_reaches_the_caller_and_the_thread_goes_on(compute):
    with pytest.raises(ZeroDivisionError):
        compute.run(lambda: 1 / 0)
    assert compute.run(lambda: "still here") == "still here"


def test_first_in_first_out_from_many_threads(compute):
    begun, release, order = threading.Event(), threading.Event(), []

    def hold():
        begun.set()
        release.wait(10)

    holder = threading.Thread(target=compute.run, args=(hold,))
    holder.start()
    assert begun.wait(10)
    threads = []
    for n in range(5):
        thread = threading.Thread(target=compute.run, args=(order.append, n))
        thread.start()
        while len(compute._waiting) < n + 2:  # submitted, in this order
            pass
        threads.append(thread)
    release.set()
    for thread in [holder, *threads]:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_closed_means_closed():
    compute = Compute().start()
    compute.close()
    with pytest.raises(RuntimeError, match="closed"):
        compute.run(print)


def test_a_job_that_does_not_end_does_not_hold_up_the_end():
    begun, release = threading.Event(), threading.Event()

    def hang():
        begun.set()
        release.wait(10)

    compute = Compute().start()
    threading.Thread(target=compute.run, args=(hang,)).start()
    assert begun.wait(10)
    compute.close(limit_s=0.01)
    release.set()
    compute.close()


def test_busy_share_and_oldest_job_follow_the_clock():
    now = [100.0]
    compute = Compute(clock=lambda: now[0]).start()
    seen = {}

    def work():
        now[0] += 4.0
        seen["oldest"] = compute.oldest_job_s

    compute.run(work)
    assert seen["oldest"] == 4.0
    compute.run(lambda: None)  # the figures of `work` are written before the next job runs
    assert compute.oldest_job_s == 0.0
    assert compute.busy_share == pytest.approx(0.4)
    now[0] += 20.0
    assert compute.busy_share == 0.0
    compute.close()


def test_what_was_begun_goes_before_what_only_begins(compute):
    begun, release, order = threading.Event(), threading.Event(), []

    def hold():
        begun.set()
        release.wait(10)

    threads = [threading.Thread(target=compute.run, args=(hold,))]
    threads[0].start()
    assert begun.wait(10)
    for n, ask in enumerate((compute.run, compute.go_on, compute.run, compute.go_on)):
        threads.append(threading.Thread(target=ask, args=(order.append, n)))
        threads[-1].start()
        while len(compute._waiting) < len(threads):
            time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == [1, 3, 0, 2]
