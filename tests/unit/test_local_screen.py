"""What `earmark watch` shows: on the narrowest terminal that anybody has, on the widest, and whatever strangers have named."""

import io
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

import hits_samples as samples
import pictures
from earmark.errors import DatabaseUnavailable
from earmark.hits.text import speed_change
from earmark.local import display, watch_state
from earmark.local.canvas import Canvas, picture
from earmark.local.screen import Screen
from earmark.local.terminal import named
from earmark.local.watch_bars import bar, graph, plainer
from earmark.local.watch_layout import laid_out
from earmark.local.watch_lines import Lines, hit_line, summary
from earmark.local.watch_notes import sentence
from earmark.local.watch_state import words
from earmark.model import Gap, Track
from watch_world import Watched

#: Moves the cursor, sets a title, turns the direction of text, breaks the line, is Rich's mark-up; combines, is wide, is both, and is nothing.
HOSTILE = "\x1b[2J\x1b]0;t\x07\x9b31m\u202e[bold red]名前\n\ttwo e\u0301\u0301\u0301 ❤\ufe0f 👩\u200d👩\u200d👧 שלום\u200f\x7f"
SIZES = ((79, 24), (59, 20), (199, 60), (39, 12), (19, 5), (9, 3), (1, 1), (79, 1), (2, 40))


def on_air(**of: object) -> Watched:
    """Music is playing for half a minute, after two plays and a gap; another recording is likely."""
    other = Track(track_id="isrc:OTHER", title="Viaduct in Teal", artists=("The Seeded Quartet",))
    watched = Watched(tracks=[other], **of)
    watched.sounds(132)
    for number, begin_s in enumerate((10.0, 40.0)):
        watched.seen.tell(samples.hit(samples.play(begin_s=begin_s, state="closed", hit_id=f"hit-{number}", quotation=number == 0, length_s=25.0)))
    play = samples.play(begin_s=100.0)
    watched.evidence("isrc:OTHER", 9.0, 14.0, 18.0)
    watched.seen.heard(media_s=2.0, lag_s=0.1, clock_lag_s=4.21)
    watched.seen.tell(samples.hit(play))
    watched.evidence(play.track_id, *(8.0 * n for n in range(1, 12)))
    watched.seen.show(samples.checkpoint(132.0, gaps=[Gap(begin_s=70.0, end_s=76.0, reason="origin_down")], plays=(play,)))
    return watched


# ---------------------------------------------------------------------------------------------------- 80 by 24, and others


def test_a_terminal_of_80_by_24_reads() -> None:
    lines = on_air().lines()
    assert lines[0] == "earmark watch  origin.example/live.m3u8                    ● live, 4.2 s behind"
    assert lines[1] == "2:12  ·  heard 95.5%  ·  1 gap, 0:06  ·  audio_only, 128 kbit/s  ·  2.1 MB"
    assert lines[3:6] == [
        "♪ Blue Sky Morning",
        "  The Example Five, Ada Sample · First Light · Paper Boat",
        "  0:42 ━━━━━━━━━━────────────────────────────────────────────── 4:00  3:18 left",
    ]
    assert lines[9] == "  88 nats of evidence, 27 asked for  false alarms: 1 in 1,100 years  since 1:40"
    assert lines[10] == "? ━━━━━━━━──── 18 of 27 nats  perhaps The Seeded Quartet – Viaduct in Teal"
    assert lines[12] == "now other, −18 dB   last minute: other 100%"
    assert lines[13] == "░" * 5 + "█" * 13 + "░" * 2 + "█" * 13 + "░░" + "×××" + "░" * 12 + "█" * 16  # two seconds each
    assert lines[14].startswith("from 0:00 on  █ catalogued ") and lines[14].endswith("× missed 5%")
    assert lines[16:20] == [
        "from   to   speed  false alarms        2 plays before",
        "1:10 1:16                              × missed: origin down",
        "0:40 1:05   +0.0%  1 in 1,100 years    Blue Sky Morning – The Example Five, Ad…",
        "0:10 0:35   +0.0%  quotation           Blue Sky Morning – The Example Five, Ad…",
    ]
    assert lines[-1] == "q quit   ↑↓ history   s snapshot"


def test_sixty_columns_and_less_keep_what_is_playing_and_how_far_it_is() -> None:
    watched = on_air()
    for width, height in ((59, 20), (39, 12), (19, 5)):
        lines = watched.lines(width, height)
        assert "♪ Blue Sky Morning" in lines
        (progress,) = [line for line in lines if line.startswith("  0:42 ━")]
        assert "4:00" in progress
        assert lines[0].endswith("● live, 4.2 s behind"[: width - 1]) or "● live" in lines[0]
    assert not any("false alarms" in line for line in watched.lines(39, 12))


def test_a_wide_terminal_is_used() -> None:
    lines = on_air().lines(199, 60)
    assert any(line.endswith("· First Light · Paper Boat") and "+0.0%" in line for line in lines)  # of a play before
    assert "12 recordings listened for" in lines[1]
    assert max(len(line) for line in lines) > 190


@given(st.integers(1, 220), st.integers(1, 70), st.integers(-5, 50), st.booleans())
@settings(deadline=None, max_examples=60)
def test_whatever_the_size_it_fits_and_is_whole(width: int, height: int, offset: int, keys: bool) -> None:
    watched = WATCHED
    lines = laid_out(watched.seen.view(), width, height, offset=offset, keys=keys, note="x" * 300).lines
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)


WATCHED = on_air()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_strangers_named_does_nothing_to_a_terminal_and_keeps_the_columns(size: tuple[int, int]) -> None:
    watched = Watched(source=words(HOSTILE), on_air=lambda: HOSTILE)
    watched.track = replace(samples.TRACK, title=HOSTILE, artists=(HOSTILE,) * 3, album=HOSTILE, label=HOSTILE * 100)
    watched.sounds(130)
    watched.seen.tell(samples.hit(samples.play(begin_s=10.0, state="closed", hit_id="hit-0"), track=watched.track))
    watched.plays()
    watched.seen.note(HOSTILE)
    written = io.StringIO()
    width, height = size
    Console(file=written, width=width + 1, height=height, force_terminal=True, color_system="truecolor").print(
        Group(*laid_out(watched.seen.view(), width, height).lines)
    )
    plain = Text.from_ansi(written.getvalue()).plain
    assert not set("\x1b\x07\u202e\ufe0f\u200d\u200f\x7f\x9b") & set(plain)
    assert len(plain.splitlines()) <= height
    assert all(cell_len(line) <= width for line in plain.splitlines())
    if width > 70 and height > 20:
        rows = [line for line in watched.lines(width, height) if "+0.0%" in line]
        assert rows and all(line.index("+0.0%") == 12 for line in rows)  # what is behind a stranger's words cannot be shifted: nothing is


def test_two_thousand_characters_are_a_line() -> None:
    watched = Watched()
    watched.track = replace(samples.TRACK, title="Long " * 400, artists=("名" * 2_000,))
    watched.plays()
    lines = watched.lines()
    assert len(lines) == 24 and lines[3].startswith("♪ Long Long") and lines[3].endswith("…")
    assert all(cell_len(line) <= 79 for line in lines)


def test_words_are_of_signs_that_every_terminal_measures_alike() -> None:
    assert words("👩\u200d👧 ❤\ufe0f می\u200cخواهم a\u00adb\u2060c") == "👩👧 ❤ میخواهم abc"
    assert words("z" + "\u0301" * 90 + "e\u0301") == "z\u0301\u0301e\u0301"
    assert words("one\r\n\ttwo\u2028three") == "one two three"


# ---------------------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize(
    "per_hour, words_of_it",
    [(0.0, "< 1 in 1M years"), (1.2e-10, "1 in 950,000 years"), (1e-7, "1 in 1,100 years"), (0.25, "1 in 4 hours"), (28_800.0, "29,000 an hour")],
)
def test_how_sure_a_hit_is_can_be_read_whole(per_hour: float, words_of_it: str) -> None:
    watched = Watched()
    watched.seen.tell(samples.hit(samples.play(begin_s=7_320.0, state="closed", false_alarms_per_hour=per_hour)))
    watched.shows(position_s=7_400.0)
    (row,) = (line for line in watched.lines() if "2:02:00" in line)
    assert f"{words_of_it:<18}  Blue " in row


@pytest.mark.parametrize("speed, said", [(1.0, "+0.0%"), (0.9996, "+0.0%"), (1.0004, "+0.0%"), (0.9994, "-0.1%"), (1.03, "+3.0%"), (0.9, "-10.0%")])
def test_a_speed_is_never_minus_nothing(speed: float, said: str) -> None:
    assert speed_change(speed) == said
    watched = Watched()
    watched.seen.tell(samples.hit(samples.play(state="closed", speed=speed)))
    watched.shows()
    (row,) = [line for line in watched.lines() if "1:40" in line]
    assert f" {said} " in row


def test_a_play_goes_on_with_the_clock_as_far_as_the_next_piece_will_and_no_further() -> None:
    watched = on_air()
    assert any(line.startswith("  0:42 ") for line in watched.lines())
    watched.clock.now += 1.0
    assert any(line.startswith("  0:43 ") for line in watched.lines())
    watched.clock.now += 4.0
    assert any(line.startswith("  0:44 ") for line in watched.lines())  # a piece is two seconds
    watched.clock.now += 4.0
    assert watched.lines()[0].endswith("○ nothing new for 0:09")


def test_a_play_that_is_not_heard_any_more_stands_still_and_says_so() -> None:
    watched = on_air()
    at = samples.checkpoint(150.0, plays=(samples.play(begin_s=100.0),))
    watched.seen.show(at)
    lines = watched.lines()
    assert any("not heard for 0:20" in line for line in lines)
    assert any(line.startswith("  0:40 ") for line in lines)


def test_what_may_be_only_a_quotation_and_what_the_policy_wants_is_said() -> None:
    watched = Watched()
    play = samples.play(state="provisional")
    watched.seen.tell(samples.hit(play) | {"policy": {**samples.hit(play)["policy"], "action": "block", "reason": "the owner wants it so"}})
    watched.evidence(play.track_id, 40.0)
    watched.shows(position_s=131.0, plays=(play,))
    lines = watched.lines()
    assert any("perhaps only quoted" in line for line in lines)
    assert "  block: the owner wants it so" in lines


@pytest.mark.parametrize(
    "lag_s, clock_lag_s, said",
    [
        (0.1, 4.21, "● live, 4.2 s behind"),
        (0.1, -1.04, "● live, 1.0 s ahead"),
        (0.1, 7_200.4, "● live, 2:00:00 behind"),  # whose clock is another time zone's
        (0.1, None, "● live"),
        (None, None, "● live"),
        (5.2, None, "● live, heard 5.2 s after it came"),
    ],
)
def test_how_far_behind_it_is_is_said_as_far_as_that_is_known(lag_s: float | None, clock_lag_s: float | None, said: str) -> None:
    watched = Watched()
    watched.seen.heard(media_s=2.0, lag_s=lag_s, clock_lag_s=clock_lag_s)
    watched.shows(position_s=20.0)
    assert watched.lines()[0].endswith(f"  {said}")


def test_a_database_that_is_away_leaves_a_candidate_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(track_ids: object) -> None:
        raise DatabaseUnavailable("it is away")

    watched = Watched()
    monkeypatch.setattr(watched.seen.tracks, "get", away)
    watched.evidence("isrc:ONE", 20.0)
    watched.shows(position_s=20.0)
    assert any("perhaps isrc:ONE" in line for line in watched.lines())


def test_several_plays_at_once_are_all_shown() -> None:
    watched = on_air()
    second = samples.play("isrc:SECOND", begin_s=110.0, hit_id="second", length_s=20.0)
    watched.seen.tell(samples.hit(second, track=replace(samples.TRACK, title="Another", artists=("Somebody",))))
    watched.evidence("isrc:SECOND", 30.0, 40.0)
    watched.seen.show(samples.checkpoint(132.0, plays=(samples.play(begin_s=100.0), second)))
    for width, height in ((79, 24), (59, 20)):
        lines = watched.lines(width, height)
        assert "♪ Blue Sky Morning" in lines and "♪ Another" in lines
        assert sum(line.endswith("left") for line in lines) == 2


def test_a_candidate_is_shown_from_half_of_what_is_asked_for_until_it_is_told() -> None:
    watched = Watched(tracks=[Track(track_id="t", title="Title", artists=("Artist",))])
    for nats, shown in ((12.0, False), (14.0, True), (26.0, True)):
        watched.evidence("t", nats)
        watched.shows(position_s=20.0)
        assert any("perhaps Artist – Title" in line for line in watched.lines()) == shown, nats
    watched.evidence("gone", 20.0)  # the catalogue has lost it
    watched.shows(position_s=21.0)
    assert any("perhaps gone" in line for line in watched.lines())


def test_before_there_is_anything_it_says_that_it_waits() -> None:
    watched = Watched()
    watched.clock.now += 3
    assert watched.lines()[0].endswith("○ connecting 0:03")
    assert "waiting for sound" in watched.lines()
    stopping = Watched(stopping=lambda: True)
    assert stopping.lines()[0].endswith("stopping")


def test_a_file_says_how_fast_it_is_heard_and_how_far_that_is() -> None:
    watched = Watched(source="show.flac", kind="file", length_s=300.0)
    watched.clock.now += 2
    watched.shows(position_s=120.0)
    lines = watched.lines()
    assert lines[0].endswith("● 60 times as fast as it plays")
    assert lines[1].startswith("2:00 of 5:00  ·  heard 100%")


def test_the_history_is_walked_through_from_the_newest_on_and_what_is_left_out_is_counted() -> None:
    watched = Watched()
    for number in range(30):
        watched.seen.tell(samples.hit(samples.play(begin_s=60.0 * number, length_s=30.0, state="closed", hit_id=f"hit-{number:02d}")))
    watched.shows(position_s=2_000.0)
    heads = {}
    for offset in (0, 10, 100):
        lines = watched.lines(offset=offset)
        (at,) = [number for number, line in enumerate(lines) if " before" in line]
        heads[offset] = lines[at].split(maxsplit=5)[5], lines[at + 1].split()[0]
    assert heads[0] == ("30 plays before (17 older)", "29:00")
    assert heads[10] == ("30 plays before (10 newer, 7 older)", "19:00")
    assert heads[100][0] == "30 plays before (17 newer)"  # there is always a page of them
    assert laid_out(watched.seen.view(), 79, 24, offset=1_000_000).offset == 17  # from where one key back is one row back
    assert laid_out(watched.seen.view(), 79, 24, offset=-1).offset == 0


def test_a_day_of_gaps_costs_no_more_than_what_is_shown_of_it() -> None:
    def drawn(gaps_n: int) -> tuple[list[str], int]:
        """And how much is called for it."""
        watched = Watched()
        gaps = [Gap(begin_s=4.0 * number, end_s=4.0 * number + 2, reason="segment_missing") for number in range(gaps_n)]
        watched.seen.show(samples.checkpoint(4.0 * gaps_n, gaps=gaps))
        events: Counter[str] = Counter()
        sys.setprofile(lambda _, event, __: events.update([event]))
        try:
            lines = watched.lines()
        finally:
            sys.setprofile(None)
        return lines, events.total()

    (_, few), (lines, many) = drawn(200), drawn(20_000)
    assert many < 20 * few  # of a hundred times as many: the sum of them is, nothing else
    assert lines[1].startswith("22:13:20  ·  heard 50.0%  ·  20,000 gaps, 11:06:40")
    assert any(line.startswith("22:13:16 22:13:18 ") and line.endswith("× missed: segment missing") for line in lines)


def test_of_ten_thousand_plays_the_newest_are_remembered_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_state, "PLAYS_MAX", 50)
    watched = Watched()
    hit = samples.hit(samples.play(state="closed"))
    for number in range(10_000):
        watched.seen.tell(hit | {"hit_id": f"hit-{number}", "query": {"begin_s": float(number), "end_s": number + 1.0}})
    watched.shows(position_s=10_001.0)
    assert any("10,000 plays before (" in line for line in watched.lines())
    assert summary(watched.seen.view())[1] == "10,000 plays, of which these are the last 50:"


def test_a_message_is_shown_for_a_while() -> None:
    watched = on_air()
    watched.seen.note("playlist.failed: the origin answered 503")
    assert watched.lines()[-2] == "playlist.failed: the origin answered 503"
    watched.clock.now += watch_state.NOTE_S
    assert "playlist.failed: the origin answered 503" not in watched.lines()


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"event": "playlist.failed", "why": "a 503", "level": "warning", "timestamp": "2026"}', "playlist.failed: a 503"),
        ('{"event": "media.missed", "reason": "skipped", "duration_s": 4.0}', "media.missed: skipped"),
        ('{"event": "log.repeated", "times": 7, "level": "warning"}', "log.repeated: times=7"),
        ('{"event": "bare"}', "bare"),
        ("[1, 2]", "[1, 2]"),
        ("no JSON", "no JSON"),
    ],
)
def test_a_line_of_the_log_becomes_a_sentence(line: str, said: str) -> None:
    assert sentence(line) == said


def test_what_the_drawing_fails_with_ends_the_session_and_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []
    with pytest.raises(io.UnsupportedOperation), Screen(Watched().seen, leave=lambda: asked.append(True)) as screen:  # a standard output that is no file
        screen._thread.join(10)
    assert asked == [True]
    with pytest.raises(ValueError, match="the session's own"), Screen(Watched().seen, leave=lambda: None):
        raise ValueError("the session's own")


# ---------------------------------------------------------------------------------------------------- in lines


def test_in_lines_each_change_and_each_gap_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.show(samples.checkpoint(130.0))
    lines.tell(samples.hit(samples.play()))
    lines.show(samples.checkpoint(140.0, gaps=[Gap(begin_s=132.0, end_s=138.0, reason="origin_down")]))
    lines.tell(samples.hit(samples.play(state="closed", quotation=True), track=replace(samples.TRACK, title=HOSTILE)))
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        "      2:10  open        The Example Five, Ada Sample – Blue Sky Morning, from 100.0 s",
        "      2:12  missed      0:06: origin down",
    ]
    assert said[2].endswith("from 100.0 s to 130.0 s, a quotation") and "\x1b" not in said[2] and len(said) == 3
    assert hit_line(1.0, samples.hit(track=None)).endswith("isrc:GBAYE0601498, from 100.0 s")


def test_the_demo_is_a_row_for_each_hit_on_any_terminal_and_drawn_when_something_changes() -> None:
    for width in (80, 60, 20):
        written = io.StringIO()
        with display.Screen(Console(file=written, width=width, height=24, force_terminal=True, color_system=None)) as screen:
            screen.on_air(61.0, "music under speech as loud")
            screen.hit(61.0, samples.hit(samples.play(begin_s=20.0, state="closed"), track=replace(samples.TRACK, title=HOSTILE)))
            screen.hit(61.0, samples.hit(samples.play(begin_s=58.0, hit_id="other", state="provisional")))
            screen.note(61.0, HOSTILE)
            sent = len(written.getvalue())
            for _ in range(10):
                screen.on_air(61.2, "music under speech as loud")
            assert len(written.getvalue()) == sent
        last = [line for line in re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", written.getvalue()) if line.strip()][-5:]
        assert last[0].startswith("1:01  on air: music"[: width - 2]) and last[4].startswith("mails sent: 0")
        assert all(cell_len(line) < width for line in last) and "\x07" not in written.getvalue() and "\x9b" not in written.getvalue()
        if width == 80:
            assert last[2].startswith("0:20 0:50   +0.0%  1 in 1,100 years    ") and "[bold red]名前" in last[2]
            assert last[3].split()[:4] == ["0:58", "…", "+0.0%", "provisional"]


def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    screen = Screen(Watched().seen, leave=lambda: None, console=Console(file=io.StringIO(), width=80, height=24), folder=tmp_path / "none")
    screen._press("snapshot")
    assert screen._note.startswith(f"{tmp_path}/none/earmark-watch-") and screen._note.endswith(".svg cannot be written: no such file or directory")


def test_what_is_left_when_it_is_over_names_every_play_and_adds_up() -> None:
    assert summary(Watched().seen.view()) == []
    said = summary(on_air().seen.view())
    assert said[0] == "origin.example/live.m3u8: 2:06 of 2:12 heard, 1 gap of 0:06 in all; 100% something else"
    assert said[1] == "3 plays:"
    assert [line[:42] for line in said[2:]] == [  # and who and what
        "  0:10 0:35  +0.0%  a quotation       The ",
        "  0:40 1:05  +0.0%  1 in 1,100 years  The ",
        "  1:40    …  +0.0%  1 in 1,100 years  The ",
    ]


# ---------------------------------------------------------------------------------------------------- signs, keys, drawing


@given(st.floats(-1, 2), st.integers(1, 200))
def test_a_bar_is_as_wide_as_it_should_be_and_grows(share: float, width: int) -> None:
    assert bar(share, width, style="").cell_len == width
    more = bar(min(2.0, share + 0.3), width, style="").plain
    assert more.count("━") >= bar(share, width, style="").plain.count("━")


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300), st.integers(1, 100), st.integers(1, 8))
def test_a_graph_fits_and_says_what_is_above_the_level(values: list[float], width: int, height: int) -> None:
    top = max(60.0, *values)
    lines = graph(values, width, height, top=top, level=27.0)
    assert len(lines) == height and all(line.cell_len <= width for line in lines)
    full = [column for column in range(min(width, len(values))) if lines[0].plain[column] == "█"]
    assert full == [column for column, value in enumerate(values[-width:]) if round(value / top * height * 8) == height * 8]


def test_where_there_is_only_ascii_every_sign_is_one_and_another_for_each() -> None:
    for line in laid_out(on_air().seen.view(), 79, 24).lines:
        told = plainer(line, "ascii")
        assert told.plain.isascii() and told.cell_len == line.cell_len and "?" not in told.plain[2:]


@given(st.binary(max_size=40))
def test_whatever_is_typed_only_keys_come_of_it(typed: bytes) -> None:
    assert set(named(typed)) <= {"up", "down", "page up", "page down", "home", "end", "quit", "snapshot", "redraw"}


@pytest.mark.parametrize(
    "typed, keys",
    [
        (b"q", ["quit"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "page up", "page down"]),
        (b"\x1b[H\x1b[4~s\x0c", ["home", "end", "snapshot", "redraw"]),
        (b"\x1b[1;5Aq", ["quit"]),  # Ctrl and an arrow: no key of ours, as a whole
        (b"\x1b[200~qqq", ["quit", "quit", "quit"]),
        (b"\x1b[12", []),
        ("ü\x1b".encode(), []),
    ],
)
def test_keys_are_known_by_what_terminals_send(typed: bytes, keys: list[str]) -> None:
    assert named(typed) == keys


def canvas() -> tuple[Canvas, io.StringIO]:
    written = io.StringIO()
    drawn = Canvas(Console(file=written, width=40, height=6, force_terminal=True, color_system=None))
    drawn.open()
    return drawn, written


def test_only_lines_that_changed_are_written_and_nothing_is_cleared() -> None:
    drawn, written = canvas()
    drawn.draw(Group("one", "two", "three"))
    written.truncate(0)
    drawn.draw(Group("one", "two", "three"))
    assert not written.getvalue().strip("\0")
    drawn.draw(Group("one", "2", "three"))
    assert written.getvalue().strip("\0") == "\x1b[2;1H2\x1b[0K"
    written.truncate(0)
    drawn.forget()
    drawn.draw(Group("one"))
    drawn.close()
    assert written.getvalue().strip("\0").count("\x1b[0K") == 6
    assert written.getvalue().endswith("\x1b[6;1H\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert "\x1b[2J" not in written.getvalue()


def test_a_drawing_is_cut_to_the_terminal_and_leaves_its_last_column_free() -> None:
    drawn, written = canvas()
    drawn.draw(Group(*(Text("x" * 60, no_wrap=True, overflow="crop") for _ in range(9))))
    assert written.getvalue().count("x" * 39) == 6 and "x" * 40 not in written.getvalue()


def test_a_picture_of_hostile_words_is_well_formed_and_loads_nothing() -> None:
    svg = picture(Group(Text(words(HOSTILE + "<script>alert(1)</script>&"))), width=60, height=3, title="<b>&", name="x")
    assert {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()} <= {"svg", "style", "defs", "clipPath", "rect", "text", "g", "circle"}
    assert re.findall(r"href|<image|<script|@font-face|@import|url\((?!#)", svg) == []


def test_the_picture_in_the_repository_is_what_the_screen_says() -> None:
    said = "".join(ET.fromstring((pictures.FOLDER / "watch.svg").read_text(encoding="utf-8")).itertext()).replace("\xa0", " ")
    for words_of_it in ("earmark watch", "● live", "heard", "nats of evidence", "asked for", "last minute:", "catalogued", "× missed", "plays before", "♪"):
        assert words_of_it in said, "run `make pictures`"
