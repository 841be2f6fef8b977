"""Two hundred streams of one origin that hung, and then answered them all at the same moment: their readings go apart again.

Each stream has a clock of its own, moved by its waits and requests; what the origin does depends on the time alone.
"""

import random

import numpy as np
import pytest

from audio_origin import Hand, session_settings, settings
from earmark.audio.fetch import Reply
from earmark.audio.hls import HlsSource
from earmark.errors import SourceUnavailable

STREAMS, SEGMENT_S, READ_TIMEOUT_S = 200, 2.0, 5.0
HANGS_S, BACK_S, OVER_S = 20.0, 50.0, 100.0


class Hung(Hand):
    """A stream with segments of its own phase, from an origin that answers nobody for half a minute, and then everybody."""

    def __init__(self, generator: random.Random) -> None:
        super().__init__()
        self.time_s = generator.uniform(0, SEGMENT_S)
        self._phase_s = generator.uniform(0, SEGMENT_S)
        self.polls_at: list[float] = []
        self.at(OVER_S, self.hand_over)

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: object = None, once: bool = False) -> Reply:
        if url.endswith("m3u8"):
            self.polls_at.append(self.time_s)
        if HANGS_S < self.time_s < BACK_S:
            if self.time_s + READ_TIMEOUT_S < BACK_S:
                self.time_s += READ_TIMEOUT_S
                raise SourceUnavailable("did not answer in time")
            self.time_s = BACK_S
        self.time_s += 0.01
        return Reply(200, self._playlist() if url.endswith("m3u8") else b"\xff\xf1", {}, url)

    def _playlist(self) -> bytes:
        complete = int((30 + self.time_s - self._phase_s) / SEGMENT_S)
        listed = "".join(f"#EXTINF:{SEGMENT_S},\n{number}.aac\n" for number in range(complete - 6, complete))
        return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{complete - 6}\n{listed}".encode()


@pytest.fixture(scope="module")
def polls_at() -> np.ndarray:
    generator, polls_at = random.Random(1), []
    for _ in range(STREAMS):
        hung, configured = Hung(generator), settings()
        source = HlsSource(
            url_provider=lambda: "http://origin/list.m3u8",
            http=hung,
            signals=hung,
            settings=configured,
            session=session_settings(),
            clock=hung.clock,
            now=hung.now,
        )
        assert len(list(source.pieces())) > 30
        polls_at += hung.polls_at
    return np.array(polls_at)


def crowd(polls_at: np.ndarray, begin_s: float, end_s: float) -> int:
    """The most readings in a tenth of a second."""
    return int(np.histogram(polls_at, np.arange(begin_s, end_s, 0.1))[0].max())


def test_the_readings_of_streams_that_were_held_up_together_do_not_line_up_for_ever(polls_at: np.ndarray) -> None:
    before = crowd(polls_at, 10, HANGS_S)
    assert before < STREAMS / 6
    # What was under way is answered at once. From then on it is as it was before.
    assert crowd(polls_at, BACK_S + 1, BACK_S + 5) < 2 * before
    assert crowd(polls_at, OVER_S - 20, OVER_S) < 2 * before
