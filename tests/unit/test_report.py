"""One stream's report in its four forms: it adds up, and nothing in it is taken for code."""

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits.record import Line
from earmark.hits.reports import report
from earmark.hits.reports.report import CUE_SHEET_COLUMNS, StreamReport
from earmark.model import Gap, Music, Stretch

GAPS = (Gap(begin_s=0.0, end_s=4.0, reason="late"), Gap(begin_s=130.0, end_s=145.5, reason="origin_down"))


def line(begin_s, end_s, title="Blue Sky Morning", **changes):
    track = replace(samples.TRACK, title=title, track_id=changes.pop("track_id", samples.TRACK.track_id))
    sample = samples.play(track.track_id, begin_s=begin_s, length_s=end_s - begin_s, **{"state": "closed"} | changes)
    return Line.of(samples.hit(sample, track=track))


def a_report(*lines, gaps=GAPS, position_s=300.0, **changes):
    values = {"state": "ended", "end_reason": "stream_end"} | changes
    return StreamReport(
        stream=samples.STREAM,
        checkpoint=samples.checkpoint(position_s, gaps=gaps, **values),
        plays=tuple(sorted(lines, key=lambda one: one.begin_s)),
        worker="worker-1",
        updated_at=samples.NOON,
    )


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def covered_s(rows):
    """Length of the union of the rows' spans."""
    total_s, here_s = 0.0, 0.0
    for row in sorted(rows, key=lambda row: float(row["begin_s"])):
        begin_s, end_s = max(float(row["begin_s"]), here_s), float(row["end_s"])
        total_s, here_s = total_s + max(0.0, end_s - begin_s), max(here_s, end_s)
    return total_s


def test_the_cue_sheet_adds_up():
    rows = rows_of(report.cue_sheet_csv(a_report(line(100.0, 130.0), line(120.0, 200.25, "Other"), line(250.0, 300.0))))

    assert [(row["kind"], row["begin_s"], row["end_s"], row["note"]) for row in rows] == [
        ("gap", "0.000", "4.000", "late"),
        ("unidentified", "4.000", "100.000", ""),
        ("play", "100.000", "130.000", ""),
        ("play", "120.000", "200.250", ""),
        ("gap", "130.000", "145.500", "origin_down"),
        ("unidentified", "200.250", "250.000", ""),
        ("play", "250.000", "300.000", ""),
    ]
    assert covered_s(rows) == pytest.approx(300.0)
    assert tuple(rows[0]) == CUE_SHEET_COLUMNS


SPANS = st.tuples(st.integers(0, 99_000), st.integers(1, 1_000)).map(lambda span: (span[0] / 100, (span[0] + span[1]) / 100))


@settings(deadline=None)
@given(st.lists(SPANS, max_size=6), st.lists(SPANS, max_size=4))
def test_any_cue_sheet_covers_the_whole_session_and_no_more(plays, gaps):
    disjoint, here_s = [], 0.0
    for begin_s, end_s in sorted(gaps):
        if begin_s >= here_s:
            disjoint.append(Gap(begin_s=begin_s, end_s=end_s, reason="late"))
            here_s = end_s

    rows = rows_of(report.cue_sheet_csv(a_report(*(line(*span) for span in plays), gaps=tuple(disjoint), position_s=1_000.0)))

    assert covered_s(rows) == pytest.approx(1_000.0, abs=0.01)
    assert all(float(row["duration_s"]) == pytest.approx(float(row["end_s"]) - float(row["begin_s"]), abs=1e-9) for row in rows)
    unidentified = [row for row in rows if row["kind"] == "unidentified"]
    taken = [row for row in rows if row["kind"] != "unidentified"]
    assert all(float(a["end_s"]) <= float(b["begin_s"]) or float(b["end_s"]) <= float(a["begin_s"]) for a in unidentified for b in taken)


def test_a_play_row_carries_everything_a_society_asks_for():
    (row,) = [row for row in rows_of(report.cue_sheet_csv(a_report(line(100.0, 130.0)))) if row["kind"] == "play"]

    assert row == {
        "started_at": "2026-11-21T12:01:40.000Z",
        "ended_at": "2026-11-21T12:02:10.000Z",
        "begin_s": "100.000",
        "end_s": "130.000",
        "duration_s": "30.000",
        "track_id": "isrc:GBAYE0601498",
        "title": "Blue Sky Morning",
        "artists": "The Example Five; Ada Sample",
        "album": "First Light",
        "label": "Paper Boat",
        "isrc": "GBAYE0601498",
        "iswc": "T0345246801",
        "upc": "00602517484016",
        "rights_holder": "Paper Boat Rights Ltd",
        "action": "track",
        "hit_id": samples.play().hit_id,
        "kind": "play",
        "note": "",
    }


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r\n=1+1", "  =1+1", "\uff1d1+1", "\u202e=1+1"])
def test_no_cell_is_a_formula(title):
    (row,) = [row for row in rows_of(report.cue_sheet_csv(a_report(line(100.0, 130.0, title)))) if row["kind"] == "play"]

    assert row["title"].startswith("'")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_title_breaks_the_rows(title):
    text = report.cue_sheet_csv(a_report(line(100.0, 130.0, title)))

    assert text.count("\r\n") == 1 + 5
    assert [row["kind"] for row in rows_of(text)] == ["gap", "unidentified", "play", "gap", "unidentified"]


def test_notes_and_what_is_not_on_record_yet():
    rows = rows_of(
        report.cue_sheet_csv(
            a_report(
                line(10.0, 20.0, quotation=True),
                line(20.0, 40.0, continues=True),
                line(40.0, 60.0, state="open"),
                line(60.0, 80.0, state="provisional"),
                gaps=(),
                position_s=80.0,
                state="listening",
            )
        )
    )

    assert [(row["kind"], row["note"], row["ended_at"][11:19]) for row in rows] == [
        ("unidentified", "", "12:00:10"),
        ("play", "quotation", "12:00:20"),
        ("play", "continues in the next session", "12:00:40"),
        ("play", "still playing", ""),
        ("unidentified", "", "12:01:20"),
    ]


def test_without_a_clock_times_are_left_empty():
    rows = rows_of(report.cue_sheet_csv(a_report(clock=None)))

    assert {row["started_at"] for row in rows} == {""}


def test_json_is_the_summary():
    document = json.loads(report.json(a_report(line(100.0, 130.0))))

    samples.validator("stream").validate(document)
    assert document["plays"][0]["title"] == "Blue Sky Morning"


def test_text_is_a_table():
    text = report.text(a_report(line(100.0, 130.0), line(200.0, 3_900.0, "Other", track_id="t-2"), position_s=4_000.0, last_error="the origin\nwas slow"))

    lines = text.splitlines()
    assert lines[:6] == [
        "Stream     late-night-radio (st-1A2B3C, ivs)",
        "State      ended: stream_end",
        "From       2026-11-21T12:00:00.000Z",
        "Heard      1:06:20 of 1:06:40 (99.5%)",
        "Not heard  0:20 in 2 gaps: origin_down 0:16, late 0:04",
        "Error      the origin was slow",
    ]
    assert lines[7].split() == ["FROM", "TO", "FOR", "RECORDING", "POLICY", "STATE", "HOW", "SURE"]
    assert lines[8] == ("1:40     2:10     0:30  The Example Five, Ada Sample - Blue Sky Morning  track   closed  about one false alarm in 1,100 years")
    assert lines[9].startswith("3:20  1:05:00  1:01:40  The Example Five, Ada Sample - Other             track")


def test_text_of_a_silent_stream():
    assert report.text(a_report(gaps=(), position_s=0.0, state="starting", end_reason=None, clock=None)).endswith("No catalogued recording was heard.\n")


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
    "</style><svg onload=alert(1)>",
    "<!-- ",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_from_outside_becomes_code(evil):
    track = replace(samples.TRACK, title=evil, artists=(evil,), album=evil, label=evil, isrc=(evil,), rights_holder=evil, track_id=evil)
    stream = replace(samples.STREAM, channel_name=evil, stream_id=evil)
    plain = a_report(line(100.0, 130.0), last_error="x")
    dirty = replace(a_report(last_error=evil), stream=stream, plays=(Line.of(samples.hit(samples.play(evil, state="closed"), stream=stream, track=track)),))

    clean_page, page = Page(report.html(plain)), Page(report.html(dirty))

    assert page.tags == clean_page.tags  # no tag more, none less
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert evil in "".join(page.texts)


SAID = "Ada Sample - <b>Blue\x1b[31m</b>\n" + "🎵" * 3_000


def station(**changes):
    """A report of a radio station with one play, during which it said something."""
    said = samples.hit(samples.play(state="closed"))
    said["stream"] |= {"now_playing": SAID, **changes}
    return a_report(Line.of(said))


def test_what_a_station_said_stands_where_a_person_compares():
    text = report.text(station())
    row, said = text.splitlines()[-2:]
    assert "Blue Sky Morning" in row
    assert said.index("the station said: Ada Sample - <b>Blue") == row.index("The Example Five")
    assert len(said) < 170 and "\x1b" not in text
    page = Page(report.html(station()))
    assert "b" not in page.tags
    (told,) = [one for one in page.texts if one.startswith("the station said")]
    assert told.startswith("the station said: Ada Sample - <b>Blue") and len(told) <= 220
    for nothing in (None, ""):
        assert "the station said" not in report.text(station(now_playing=nothing)) + report.html(station(now_playing=nothing))
    assert "the station said" not in report.text(a_report(line(100.0, 130.0)))
    assert "now_playing" not in report.document(station(), samples.PLACE)["plays"][0]


def test_thousands_have_commas():
    plays = [line(10.0 * n, 10.0 * n + 5) for n in range(1_100)]
    text = report.html(a_report(*plays, gaps=tuple(Gap(begin_s=n, end_s=n + 0.5, reason="late") for n in range(1_234)), position_s=11_000.0))
    assert "1,234 gaps" in text and "<dd>1,100<small>" in text and "and 1,034 more" in text
    assert "1 gap<" in report.html(a_report(line(0.0, 5.0), gaps=GAPS[:1]))


def test_the_page_stands_alone():
    text = report.html(a_report(line(100.0, 130.0)))

    page = Page(text)
    assert page.tags.count("script") == 1
    assert not [value for name, value in page.attributes if name in ("src", "href") and not value.startswith("#")]
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for element in ("style", "script"):  # each is allowed by its hash, and nothing else is
        own = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)[1]
        assert f"{element}-src 'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}';" in policy
    assert "prefers-color-scheme:dark" in text
    assert ("name", "viewport") in page.attributes
    assert not [name for name, _ in page.attributes if name == "style" or name.startswith("on")]  # the policy would drop them


def test_the_timeline_shows_plays_and_gaps_where_they_are():
    text = report.html(a_report(line(150.0, 300.0), gaps=(Gap(begin_s=0.0, end_s=30.0, reason="late"),), position_s=300.0))

    assert '<rect x="500.0" y="1.0" width="500.0" height="22.0" class="c0">' in text
    assert '<rect x="0.0" y="0.0" width="100.0" height="24.0" class="gap">' in text


def test_plays_at_the_same_time_lie_side_by_side():
    text = report.html(a_report(line(0.0, 200.0), line(100.0, 300.0, "Other", track_id="t-2"), gaps=(), position_s=300.0))

    assert len(set(re.findall(r'y="([\d.]+)" width="[\d.]+" height="10.0"', text))) == 2


def test_a_play_that_is_alone_has_the_whole_height():
    text = report.html(a_report(line(0.0, 100.0), line(50.0, 150.0, track_id="t-2"), line(140.0, 160.0, track_id="t-3"), line(200.0, 300.0), gaps=()))

    assert re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)" class="c', text) == [("1.0", "10.0"), ("13.0", "10.0"), ("1.0", "10.0"), ("1.0", "22.0")]


def test_the_table_is_straight_with_wide_letters():
    text = report.text(a_report(line(100.0, 130.0, "東京の夜"), line(200.0, 210.0, "Plain", track_id="t-2")))

    wide, plain = text.splitlines()[-2:]
    assert wide.index("track ") + 4 == plain.index("track ")


@pytest.mark.parametrize("hours", [0.001, 0.5, 3, 24, 500])
def test_the_timeline_fits_any_length(hours):
    text = report.html(a_report(line(1.0, 3.0), gaps=(), position_s=hours * 3600))

    assert 1 <= text.count('<span class="when">') <= 12


def test_the_page_of_a_session_that_heard_nothing():
    text = report.html(a_report(gaps=(), position_s=0.0, state="starting", end_reason=None, clock=None))

    assert "No catalogued recording was heard." in text
    assert "<svg" not in text


MUSIC = Music(stretches=(Stretch(begin_s=50.0, end_s=90.0), Stretch(begin_s=98.0, end_s=134.0), Stretch(begin_s=160.0, end_s=240.5)), heard_s=150.0, dropped=3)


def test_music_that_no_play_explains_is_listed_in_every_form():
    whole = a_report(line(100.0, 130.0), music=MUSIC)

    document = json.loads(report.json(whole))
    samples.validator("stream").validate(document)
    assert document["music"] == {
        "heard_s": 150.0,
        "identified_s": 30.0,
        "unidentified": [
            {"begin_s": 50.0, "end_s": 90.0, "duration_s": 40.0, "started_at": "2026-11-21T12:00:50.000Z"},
            {"begin_s": 160.0, "end_s": 240.5, "duration_s": 80.5, "started_at": "2026-11-21T12:02:40.000Z"},
        ],
        "left_out": 3,
    }
    assert report.text(whole).splitlines()[5] == "Music      2:30, of which 0:30 identified"
    assert report.text(whole).splitlines()[-4:] == [
        "Music, unidentified:",
        "  from    0:50 to    1:30, 0:40",
        "  from    2:40 to    4:00, 1:20",
        "  and 3 more, shorter",
    ]
    rows = rows_of(report.cue_sheet_csv(whole))
    assert [(row["begin_s"], row["end_s"], row["note"]) for row in rows if row["kind"] == "unidentified"] == [
        ("4.000", "50.000", ""),
        ("50.000", "90.000", "music"),
        ("90.000", "100.000", ""),
        ("145.500", "160.000", ""),
        ("160.000", "240.500", "music"),
        ("240.500", "300.000", ""),
    ]
    assert covered_s(rows) == pytest.approx(300.0)
    html = report.html(whole)
    bar = '<rect x="166.7" y="17.0" width="133.3" height="7.0" class="music"><title>music, unidentified, 0:50 to 1:30</title></rect>'
    assert f'<a href="#music1" tabindex="-1">{bar}</a>' in html
    assert '<tr id="music2"><td class="time">2:40<small>12:02:40 UTC</small></td><td class="time">4:00</td><td class="time">1:20</td></tr>' in html


def test_a_stream_without_music_says_nothing_of_it():
    assert "usic" not in report.text(a_report(line(100.0, 130.0)))
    assert "<h2>Music" not in report.html(a_report(line(100.0, 130.0)))
