"""As `bench.live_programme`, with nothing to hear: so cheap that a machine can listen to more streams at once than it has cores for.

For what is asked of the way to a stream, and not of what is done with its sound.
"""

from collections.abc import Iterator

from bench.live_programme import PROGRAMME_S, Part
from earmark.local import sound
from earmark.model import Float32, Track


def sources() -> list[bytes]:
    return []


def plan(number: int, of: int) -> tuple[Part, ...]:
    del number, of
    return (Part(kind="silence", begin_s=0.0, end_s=PROGRAMME_S),)


def sounding(number: int, of: int) -> Float32:
    """The samples of a programme: mono, at music.RATE_HZ."""
    del number, of
    return sound.silence(PROGRAMME_S)


def played(of: int) -> Iterator[tuple[Track, Float32, int]]:
    del of
    yield from ()
