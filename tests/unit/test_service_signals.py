"""SIGTERM and SIGINT, wherever they find the main thread."""

import signal
import threading
from collections.abc import Iterator

import pytest

from earmark.process import stop_on_signals


@pytest.fixture(autouse=True)
def _handlers_of_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heeded_though_the_main_thread_holds_the_lock_of_the_stop(number: signal.Signals) -> None:
    """`Event.wait` holds it for a moment each time; a handler that waited for it would wait for ever."""
    stop = threading.Event()
    stop_on_signals(stop.set)
    with stop._cond:  # type: ignore[attr-defined]
        signal.raise_signal(number)
    assert stop.wait(10)


def test_a_signal_is_heeded_though_it_comes_to_another_thread_and_nobody_wakes_the_main_one() -> None:
    stop, over = threading.Event(), threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    stop_on_signals(stop.set)
    heeded: list[bool] = []

    def ask() -> None:
        signal.pthread_kill(other.ident or 0, signal.SIGTERM)
        heeded.append(stop.wait(5))
        over.set()

    asking = threading.Thread(target=ask)
    asking.start()
    over.wait()  # without a limit, as a service waits
    asking.join()
    other.join()
    assert heeded == [True]
