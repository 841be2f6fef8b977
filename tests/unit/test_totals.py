"""Sums over sessions: every millisecond counted once, whatever the period, and reports of use as they are to be filed."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits.record import Line
from earmark.hits.reports import exports
from earmark.hits.reports.portion import Period, Portion
from earmark.hits.reports.report import StreamReport
from earmark.hits.reports.soundexchange import COLUMNS, ReportOfUse, file_name
from earmark.hits.reports.totals import Totals
from earmark.model import Gap, Music, Stretch
from earmark.settings import Reporting

LENGTH_S = 1_000.0


OF_TRACK = ("track_id", "label", "rights_holder", "isrc", "artists", "album")


def line(begin_s, end_s, title="Blue Sky Morning", **changes):
    track = replace(samples.TRACK, title=title, **{name: changes.pop(name) for name in OF_TRACK if name in changes})
    sample = samples.play(track.track_id, begin_s=begin_s, length_s=end_s - begin_s, **{"state": "closed"} | changes)
    return Line.of(samples.hit(sample, track=track))


def a_report(*lines, gaps=(), music=(), stream_id="st-1", **changes):
    return StreamReport(
        stream=replace(samples.STREAM, stream_id=stream_id, channel_name=changes.pop("channel", "late-night-radio")),
        checkpoint=samples.checkpoint(LENGTH_S, gaps=gaps, **{"state": "ended", "music": Music(stretches=tuple(music))} | changes),
        plays=tuple(sorted(lines, key=lambda one: one.begin_s)),
        worker="worker-1",
        updated_at=samples.NOON,
    )


def portion(whole, since_s=None, until_s=None):
    since, until = (None if s is None else samples.NOON + timedelta(seconds=s) for s in (since_s, until_s))
    return Portion.of(whole, Period(since=since, until=until), begins_at=samples.NOON)


def totals(*portions):
    made = Totals()
    for one in portions:
        made.add(one)
    return made


def rows_of(one):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([exports.CSV_COLUMNS, *exports.csv_rows(one)])
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


# ------------------------------------------------------------------------------------------------ sums


def test_two_recordings_over_one_another_have_their_seconds_each():
    heard = totals(portion(a_report(line(100.0, 130.0), line(120.0, 200.0, "Other", track_id="t-2"), gaps=[Gap(begin_s=125.0, end_s=140.0, reason="late")])))
    assert {name: one.share.told() for name, one in heard.recordings.items()} == {
        samples.TRACK.track_id: {"plays": 1, "played_s": 30.0, "heard_s": 25.0},
        "t-2": {"plays": 1, "played_s": 80.0, "heard_s": 65.0},
    }
    assert heard.heard.told() == {
        "sessions": 1,
        "total_s": 1000.0,
        "heard_s": 985.0,
        "gap_s": 15.0,
        "identified_s": 85.0,
        "unidentified_music_s": 0.0,
        "rest_s": 900.0,
        "overlap_s": 5.0,
        "gap_s_by_reason": {"late": 15.0},
    }


SPANS = st.tuples(st.integers(0, 990_000), st.integers(1, 300_000)).map(lambda span: (span[0] / 1000, min(LENGTH_S, (span[0] + span[1]) / 1000)))
PLAYS = st.lists(st.tuples(SPANS, st.sampled_from(["t-1", "t-2", "t-3"]), st.sampled_from(["closed", "open", "provisional"])), max_size=8)
GAPS = st.lists(SPANS, max_size=5)
FRACTIONS = st.floats(0, 0.0009)


def disjoint(spans):
    here_s = 0.0
    for begin_s, end_s in sorted(spans):
        if begin_s >= here_s and end_s > begin_s:
            yield begin_s, end_s
            here_s = end_s


OWNERS = {
    "t-1": {"label": "One", "rights_holder": "Somebody"},
    "t-2": {"label": "Two", "rights_holder": "Somebody"},
    "t-3": {"label": "One", "rights_holder": ""},
}


def drawn(plays, gaps, music, **changes):
    lines = [line(*span, f"Title {track_id}", track_id=track_id, state=state, **OWNERS[track_id]) for span, track_id, state in plays]
    missed = [Gap(begin_s=begin_s, end_s=end_s, reason=("late", "origin_down")[n % 2]) for n, (begin_s, end_s) in enumerate(disjoint(gaps))]
    return a_report(*lines, gaps=missed, music=[Stretch(begin_s=begin_s, end_s=end_s) for begin_s, end_s in disjoint(music)], **changes)


@given(PLAYS, GAPS, GAPS, FRACTIONS)
def test_totals_add_up_to_coverage_and_to_the_cue_sheet(plays, gaps, music, shift_s):
    """Whatever lies over whatever; also where seconds are no whole milliseconds."""
    whole = portion(drawn([((b + shift_s, e + shift_s), *rest) for (b, e), *rest in plays], gaps, music))
    made = totals(whole)
    heard = made.heard
    assert heard.total_ms == LENGTH_S * 1000
    assert heard.gap_ms == sum(heard.gap_ms_by_reason.values()) == round(1000 * whole.report.checkpoint.gap_s)
    assert heard.identified_ms + heard.music_ms + heard.rest_ms == heard.heard_ms == heard.total_ms - heard.gap_ms
    assert min(heard.identified_ms, heard.music_ms, heard.rest_ms, heard.overlap_ms) >= 0
    for shares in (
        [one.share for one in made.recordings.values()],
        made.labels.values(),
        made.rights_holders.values(),
        [one.share for one in made.channels.values()],
    ):
        assert sum(share.heard_ms for share in shares) == made.all.heard_ms == heard.identified_ms + heard.overlap_ms
        assert sum(share.plays for share in shares) == made.all.plays
        assert sum(share.played_ms for share in shares) == made.all.played_ms
    rows = rows_of(whole)
    sheet = {kind: [row for row in rows if row["kind"] == kind] for kind in ("play", "gap", "unidentified")}
    assert made.all.plays == len(sheet["play"])
    assert made.all.played_ms == sum(round(1000 * float(row["duration_s"])) for row in sheet["play"])
    assert heard.gap_ms == sum(round(1000 * float(row["duration_s"])) for row in sheet["gap"])
    left = {note: sum(round(1000 * float(row["duration_s"])) for row in sheet["unidentified"] if row["note"] == note) for note in ("music", "")}
    assert heard.music_ms == left["music"]
    assert heard.rest_ms == pytest.approx(left[""], abs=len(rows))  # slivers of less than a millisecond are in no row


@given(PLAYS, GAPS, GAPS, st.lists(st.integers(0, 1_000_000), min_size=1, max_size=3))
def test_periods_that_follow_one_another_add_up_to_the_whole(plays, gaps, music, bounds):
    """A play is counted in one of them, its seconds where they lie."""
    whole = drawn(plays, gaps, music)
    edges = [None, *(ms / 1000 for ms in sorted(set(bounds))), None]
    parts = [totals(one) for since_s, until_s in pairwise(edges) if (one := portion(whole, since_s, until_s)).end_s > one.begin_s]
    together = totals(portion(whole))
    for name in ("total_ms", "gap_ms", "identified_ms", "music_ms", "overlap_ms", "rest_ms"):
        assert sum(getattr(part.heard, name) for part in parts) == getattr(together.heard, name)
    for name in ("plays", "played_ms", "heard_ms"):
        assert sum(getattr(part.all, name) for part in parts) == getattr(together.all, name)


def test_a_play_that_is_cut_by_the_period_says_so_and_has_the_times_of_what_is_left():
    whole = a_report(line(100.0, 130.0), line(300.0, 340.0, "Other", track_id="t-2"), gaps=[Gap(begin_s=90.0, end_s=100.0, reason="late")])
    rows = rows_of(portion(whole, 95.0, 320.0))
    assert [(row["kind"], row["begin_s"], row["end_s"], row["note"]) for row in rows] == [
        ("gap", "95.000", "100.000", "late"),
        ("play", "100.000", "130.000", ""),
        ("unidentified", "130.000", "300.000", ""),
        ("play", "300.000", "320.000", "goes on after"),
    ]
    assert (rows[3]["started_at"], rows[3]["ended_at"]) == ("2026-11-21T12:05:00.000Z", "2026-11-21T12:05:20.000Z")
    (later,) = exports.play_lines(portion(whole, 320.0))
    assert (later["note"], later["began_here"], later["duration_s"], later["started_at"]) == ("began before", False, 20.0, "2026-11-21T12:05:20.000Z")


def test_a_session_without_a_clock_is_where_its_row_says_it_was():
    one = portion(a_report(line(100.0, 130.0), clock=None), 110.0)
    assert (one.begin_s, one.end_s) == (110.0, 1000.0)
    assert [(row["kind"], row["begin_s"], row["started_at"]) for row in rows_of(one)][1] == ("unidentified", "130.000", "")


def test_text_shows_those_with_most_and_counts_the_others():
    lines = [line(10.0 * n, 10.0 * n + 5 + n / 100, f"Title {n}\n<b>", track_id=f"t-{n:02}", rights_holder=f"Holder {n % 2}") for n in range(30)]
    text = exports.text(totals(portion(a_report(*lines, gaps=[Gap(begin_s=900.0, end_s=930.0, reason="late")]))), "of everything")
    assert text.splitlines()[:7] == [
        "Report      of everything",
        "Sessions    1 of 1 channel",
        "Heard       16:10 of 16:40 (97.0%)",
        "Not heard   0:30: late 0:30",
        "Identified  2:34, 30 plays of 30 recordings",
        "Music       0:00 that no play explains",
        "The rest    13:36",
    ]
    recordings = text.partition("RECORDING")[2].partition("\n\n")[0].splitlines()
    assert len(recordings) == 22
    assert recordings[1].split() == ["The", "Example", "Five,", "Ada", "Sample", "-", "Title", "29", "<b>", "1", "0:05"]
    assert recordings[-1].split() == ["and", "10", "more", "10", "0:50"]
    assert "Holder 0" in text and "late-night-radio" in text


# ------------------------------------------------------------------------------------------------ the report of use

WHO = Reporting(service="Acme Music", category="A", contact="Ada", street="1 Way", city="Town, ST 00001", telephone="1", email="a@acme.example")
MONTH = {"since": date(2026, 11, 1), "until": date(2026, 11, 30), "made_on": date(2026, 12, 3)}


def use_of(*portions, who=WHO, listeners=None):
    made = ReportOfUse()
    for one in portions:
        made.add(one)
    return made, list(made.lines(who, **MONTH, listeners=listeners))


def test_a_report_of_use_has_its_head_in_fourteen_rows_and_a_row_for_each_recording_of_a_channel():
    lines = (line(100.0, 130.0), line(400.0, 430.0), line(600.0, 610.0, "Other", track_id="t-2", isrc=(), state="provisional"))
    _, rows = use_of(portion(a_report(*lines)), portion(a_report(line(1.0, 31.0), stream_id="st-2", channel="early")))
    assert all(row.endswith("\r\n") and row.count("\n") == 1 for row in rows)
    assert [row.strip() for row in rows[:14]] == [
        *("Acme Music", "Ada", "1 Way", "Town, ST 00001", "1", "a@acme.example", "20261101", "20261130", "20261203", "2", "^", "|", ""),
        "|".join(COLUMNS),
    ]
    song = "^The Example Five, Ada Sample^|^Blue Sky Morning^|^GBAYE0601498^|^First Light^|^Paper Boat^"
    assert [row.strip() for row in rows[14:]] == [f"^Acme Music^|^A^|{song}|||^early^|1", f"^Acme Music^|^A^|{song}|||^late-night-radio^|2"]
    assert file_name(WHO, MONTH["since"], MONTH["until"]) == "AcmeMusic01112026-30112026.txt"


def test_who_knows_how_many_listened_says_so():
    _, rows = use_of(portion(a_report(line(100.0, 130.0), line(400.0, 430.0))), listeners=12.5)
    assert rows[-1].strip().split("|")[7:] == ["25", "", "^late-night-radio^", "2"]


def test_without_an_address_there_is_no_head():
    _, rows = use_of(portion(a_report(line(100.0, 130.0))), who=Reporting(service="Acme"))
    assert len(rows) == 1
    assert rows[0].startswith("^Acme^||^The Example Five")


@pytest.mark.parametrize("evil", ['=HYPERLINK("x")', "@SUM(1)", "a^b|c\r\nd", "\u202eevil", "<script>", "🎵" * 3, "東京", "é" * 2_000, "\x00\ud800"])
def test_no_text_breaks_the_rows_or_is_a_formula(evil):
    made, rows = use_of(portion(a_report(line(100.0, 130.0, evil, artists=(evil,), album=evil), channel=evil)))
    assert len(rows) == 15
    row = rows[-1].removesuffix("\r\n")
    assert row.count("|") == len(COLUMNS) - 1 and row.count("^") % 2 == 0 and row.isprintable()
    cells = [cell.strip("^") for cell in row.split("|")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert all(len(cell) <= 256 for cell in cells)
    assert made.lacking().not_ascii == (evil in ("🎵" * 3, "東京", "\x00\ud800"))


def test_what_will_be_asked_about_is_counted():
    lines = (line(1.0, 9.0, isrc=(), label=""), line(20.0, 29.0, track_id="t-2", isrc=()), line(50.0, 70.0, track_id="t-3", album=""))
    made, _ = use_of(portion(a_report(*lines)))
    assert made.lacking().unnamed == 1


def test_every_line_is_json_and_the_last_one_the_sum():
    one = portion(a_report(line(100.0, 130.0, 'a"\n<script>')))
    documents = [json.loads(json.dumps(document)) for document in (*exports.play_lines(one), exports.total_line(totals(one)))]
    assert [document["kind"] for document in documents] == ["play", "total"]
    assert documents[0]["title"] == 'a"\n<script>' and documents[0]["isrc"] == ["GBAYE0601498"]
    assert documents[1]["coverage"]["identified_s"] == 30.0
    assert datetime.fromisoformat(documents[0]["started_at"]).tzinfo == UTC
