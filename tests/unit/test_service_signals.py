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
