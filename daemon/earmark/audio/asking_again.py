"""S3 that does not answer is asked again for a while."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from earmark.audio.hls import Signals
from earmark.errors import AwsUnavailable

T = TypeVar("T")

#: First wait; doubles.
RETRY_S: Final = 1.0


def patiently(call: Callable[[], T], *, signals: Signals, patience_s: float, clock: Callable[[], float] = time.monotonic) -> T | None:
    """What `call` returns; None: we are leaving. Raises AwsUnavailable once another wait would end after `patience_s`."""
    give_up_at, wait_s = clock() + patience_s, RETRY_S
    while True:
        try:
            return call()
        except AwsUnavailable:
            if clock() + wait_s > give_up_at:
                raise
            signals.wait(wait_s)
            if signals.leaving:
                return None
            wait_s *= 2
