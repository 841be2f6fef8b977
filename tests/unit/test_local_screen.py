"""The live table of `earmark watch` on the narrowest terminal that anybody has: 80 columns, and 24 lines."""

import io

import pytest
import rich
from rich.console import Console

import hits_samples as samples
from earmark.hits.text import speed_change
from earmark.local.screen import PLAYS_MAX, Screen
from earmark.model import Checkpoint


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What Rich's own console writes."""
    written = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=written, width=80, height=24))
    return written


def lines_of(shown: io.StringIO, *hits: dict) -> list[str]:
    with Screen("https://example.org/live.m3u8") as screen:
        for hit in hits:
            screen.tell(hit)
        screen.show(Checkpoint(position_s=7_400.0, heard_s=7_400.0, rendition="audio_only"))
    return shown.getvalue().splitlines()


@pytest.mark.parametrize(
    "per_hour, words",
    [(0.0, "< 1 in 1M years"), (1.2e-10, "1 in 950,000 years"), (1e-7, "1 in 1,100 years"), (0.25, "1 in 4 hours"), (28_800.0, "29,000 an hour")],
)
def test_how_sure_a_hit_is_can_be_read_whole(shown: io.StringIO, per_hour: float, words: str) -> None:
    hit = samples.hit(samples.play(begin_s=7_320.0, state="provisional", false_alarms_per_hour=per_hour))
    (row,) = (line for line in lines_of(shown, hit) if "2:02:00" in line)
    assert words in row
    assert "provisional" in row
    assert "The " in row  # and some of what is playing


def test_all_that_is_shown_fits_the_terminal(shown: io.StringIO) -> None:
    lines = lines_of(shown, *(samples.hit(samples.play(begin_s=100.0 * n, state="closed")) for n in range(2 * PLAYS_MAX)))
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 80
    assert sum("closed" in line for line in lines) == PLAYS_MAX


@pytest.mark.parametrize("speed, words", [(1.0, "+0.0%"), (0.9996, "+0.0%"), (1.0004, "+0.0%"), (0.9994, "-0.1%"), (1.03, "+3.0%"), (0.9, "-10.0%")])
def test_a_speed_is_never_minus_nothing(shown: io.StringIO, speed: float, words: str) -> None:
    assert speed_change(speed) == words
    (row,) = (line for line in lines_of(shown, samples.hit(samples.play(state="open", speed=speed))) if "1:40" in line)
    assert f" {words} " in row
