"""The cut list: what is to go from when to when, as a document, and as programs take it."""

import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.errors import BadSettings
from earmark.hits.reports import cut_forms, cuts
from earmark.hits.reports.cuts import Unwanted
from earmark.hits.reports.report import StreamReport
from earmark.model import Gap

POLICY = {"action": "block", "reason": "Paper Boat Rights Ltd says block", "rule_id": None}


def unwanted(begin_s, end_s, **changes):
    track_id = changes.pop("track_id", samples.TRACK.track_id)
    hit = samples.hit(samples.play(track_id, begin_s=begin_s, length_s=end_s - begin_s, state="closed"), track=replace(samples.TRACK, track_id=track_id))
    hit["policy"] |= POLICY | {name: changes.pop(name) for name in POLICY if name in changes}
    return replace(Unwanted.of(hit), **changes)


def a_list(*plays, gaps=(), position_s=300.0, edge_s=0.5, offset_s=0.0, **changes):
    whole = StreamReport(
        stream=samples.STREAM,
        checkpoint=samples.checkpoint(position_s, gaps=gaps, **{"state": "ended"} | changes),
        plays=(),
        worker="worker-1",
        updated_at=samples.NOON,
    )
    return cuts.listed(whole, plays, actions=("block",), edge_s=edge_s, offset_s=offset_s)


def spans(*plays, **changes):
    return a_list(*plays, **changes).spans()


# ------------------------------------------------------------------------------------------------ what is to go


def test_a_cut_is_wider_than_what_was_heard_and_stays_within_the_session():
    assert spans(unwanted(0.2, 10.0), unwanted(100.0, 130.0), unwanted(280.0, 299.9)) == [(0.0, 10.5), (99.5, 130.5), (279.5, 300.0)]


def test_cuts_that_touch_or_overlap_are_one():
    (both, alone) = a_list(unwanted(10.0, 20.0), unwanted(21.0, 30.0, track_id="t-2"), unwanted(31.01, 40.0, track_id="t-3")).cuts
    assert (both.begin_s, both.end_s, [play.track_id for play in both.plays]) == (9.5, 30.5, [samples.TRACK.track_id, "t-2"])
    assert (alone.begin_s, alone.end_s) == (30.51, 40.5)


def test_what_lies_within_another_makes_it_no_shorter():
    assert spans(unwanted(10.0, 90.0), unwanted(20.0, 30.0, track_id="t-2"), unwanted(50.0, 60.0, track_id="t-3")) == [(9.5, 90.5)]


def test_a_recording_that_goes_on_behind_a_break_goes_with_the_break():
    first, later = unwanted(10.0, 40.0), unwanted(55.0, 80.0, reference_begin_s=10.0 + 45.0)
    assert spans(first, later) == [(9.5, 80.5)]
    assert spans(first, replace(later, reference_begin_s=10.0)) == [(9.5, 40.5), (54.5, 80.5)]  # it was played again
    assert spans(first, unwanted(61.0, 80.0, reference_begin_s=61.0)) == [(9.5, 40.5), (60.5, 80.5)]  # nobody knows
    other = unwanted(45.0, 46.0, track_id="t-2")
    assert spans(first, other, later) == [(9.5, 80.5)]


MOMENTS = st.integers(0, 40_000).map(lambda ms: ms / 100)


@given(st.lists(st.tuples(MOMENTS, st.integers(1, 6_000).map(lambda ms: ms / 100)), max_size=12), st.integers(0, 300).map(lambda ms: ms / 100))
def test_every_second_of_a_play_is_in_one_cut_and_cuts_lie_apart(plays, edge_s):
    made = [unwanted(begin_s, begin_s + length_s, track_id=f"t-{n}") for n, (begin_s, length_s) in enumerate(plays)]
    listed = a_list(*made, position_s=400.0, edge_s=edge_s)
    found = listed.spans()
    assert all(0 <= begin_s < end_s <= 400 for begin_s, end_s in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    for play in made:
        if play.begin_s < 400:
            assert sum(begin_s <= play.begin_s and min(400.0, play.end_s) <= end_s for begin_s, end_s in found) == 1
    kept = {play.hit_id for cut in listed.cuts for play in cut.plays}
    assert {play.hit_id for play in made if play.begin_s - edge_s < 400} == kept
    widened = sum(min(400.0, play.end_s + edge_s) - max(0.0, play.begin_s - edge_s) for play in made if play.begin_s - edge_s < 400)
    assert sum(end_s - begin_s for begin_s, end_s in found) <= widened + 0.003 * (len(made) + 1)  # and nothing else goes


# ------------------------------------------------------------------------------------------------ the document


def test_the_document_says_what_plays_when_by_both_clocks_and_what_nobody_heard():
    gaps = [Gap(begin_s=50.0, end_s=60.0, reason="late"), Gap(begin_s=130.9, end_s=140.0, reason="origin_down")]
    document = json.loads(cuts.text(a_list(unwanted(100.0, 130.0), gaps=gaps), samples.PLACE))
    samples.validator("cut-list").validate(document)
    assert document["links"] == {"stream": "s3://results/eu/st-1A2B3C/stream.json", "report": "s3://results/eu/st-1A2B3C/report.html"}
    (cut,) = document["cuts"]
    (play,) = cut.pop("plays")
    assert cut == {
        "begin_s": 99.5,
        "end_s": 130.5,
        "duration_s": 31.0,
        "started_at": "2026-11-21T12:01:39.500Z",
        "ended_at": "2026-11-21T12:02:10.500Z",
        "actions": ["block"],
    }
    assert (play["title"], play["artists"], play["begin_s"], play["reason"]) == (
        "Blue Sky Morning",
        ["The Example Five", "Ada Sample"],
        100.0,
        POLICY["reason"],
    )
    assert [(gap["begin_s"], gap["end_s"], gap["reason"], gap["beside_a_cut"]) for gap in document["unknown"]] == [
        (50.0, 60.0, "late", False),
        (130.9, 140.0, "origin_down", True),
    ]
    assert (document["cut_s"], document["unknown_s"], document["length_s"]) == (31.0, 19.1, 300.0)


def test_what_a_play_goes_on_over_is_not_unknown():
    gaps = [Gap(begin_s=90.0, end_s=110.0, reason="late"), Gap(begin_s=120.0, end_s=125.0, reason="late"), Gap(begin_s=128.0, end_s=160.0, reason="late")]
    document = cuts.document(a_list(unwanted(100.0, 130.0), unwanted(140.0, 150.0, track_id="t-2"), gaps=gaps))
    assert [(gap["begin_s"], gap["end_s"]) for gap in document["unknown"]] == [(90.0, 99.5), (130.5, 139.5), (150.5, 160.0)]
    assert all(gap["beside_a_cut"] for gap in document["unknown"])


def test_a_recording_that_begins_later_has_seconds_of_its_own():
    made = a_list(unwanted(10.0, 20.0), unwanted(100.0, 130.0), gaps=[Gap(begin_s=60.0, end_s=80.0, reason="late")], offset_s=70.25)
    assert made.spans() == [(29.25, 60.25)]
    document = json.loads(cuts.text(made))
    samples.validator("cut-list").validate(document)
    assert (document["offset_s"], document["begins_at"], document["length_s"]) == (70.25, "2026-11-21T12:01:10.250Z", 229.75)
    assert [(gap["begin_s"], gap["end_s"], gap["started_at"]) for gap in document["unknown"]] == [(0.0, 9.75, "2026-11-21T12:01:10.250Z")]
    assert [cut["begin_s"] for cut in document["cuts"]] == [29.25]


def test_a_recording_that_begins_earlier_has_seconds_that_nobody_heard():
    document = json.loads(cuts.text(a_list(unwanted(10.0, 20.0), offset_s=-5.0)))
    samples.validator("cut-list").validate(document)
    assert [(cut["begin_s"], cut["end_s"]) for cut in document["cuts"]] == [(14.5, 25.5)]
    assert [(gap["begin_s"], gap["end_s"], gap["reason"]) for gap in document["unknown"]] == [(0.0, 5.0, "before_the_session")]


def test_without_a_clock_times_are_null():
    document = json.loads(cuts.text(a_list(unwanted(10.0, 20.0), clock=None)))
    samples.validator("cut-list").validate(document)
    assert (document["begins_at"], document["cuts"][0]["started_at"]) == (None, None)


# ------------------------------------------------------------------------------------------------ as programs take it


def muted_at(graph, second):
    """Whether FFmpeg's expression is true then, by Python's arithmetic."""
    expression = graph.partition("enable='")[2].partition("'")[0].replace("if(", "when(")
    names = {"t": second, "between": lambda t, a, b: a <= t <= b, "lt": lambda a, b: a < b, "when": lambda c, a, b: a if c else b}
    return bool(eval(expression, {"__builtins__": {}}, names))


@pytest.mark.parametrize("many", [1, 16, 17, 1_000])
def test_ffmpeg_is_told_when_to_be_silent_however_many_there_are(many):
    made = a_list(*(unwanted(10.0 * n + 2, 10.0 * n + 5, track_id=f"t-{n}") for n in range(many)), position_s=20_000.0)
    graph = cut_forms.ffmpeg(made)
    assert graph.startswith("asetnsamples=n=256:p=0,volume=volume=0:enable='") and graph.count("\n") == 1
    assert graph.count("between") == many
    for n in {0, many // 2, many - 1}:
        seconds = [10.0 * n + at for at in (1.4, 1.5, 3.0, 5.5, 5.6)]
        assert [muted_at(graph, second) for second in seconds] == [False, True, True, True, False]
    depth = max(expression_depth(graph))
    assert depth < 30


def expression_depth(text):
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        yield depth


def test_nothing_to_cut_is_a_filter_that_does_nothing():
    assert cut_forms.ffmpeg(a_list()) == "anull\n"
    assert json.loads(cut_forms.mediaconvert(a_list(), Fraction(25))) == {"TimecodeSource": "ZEROBASED", "InputClippings": []}


#: As the API's own model has it (botocore, mediaconvert, InputClipping).
TIMECODE = re.compile(r"([01][0-9]|2[0-4]):[0-5][0-9]:[0-5][0-9][:;][0-9]{2}(@[0-9]+(\.[0-9]+)?(:[0-9]+)?)?")


def test_mediaconvert_gets_what_stays_in_frames_the_last_one_included():
    job = json.loads(cut_forms.mediaconvert(a_list(unwanted(10.0, 20.0), unwanted(100.0, 130.02)), Fraction(25)))
    assert job == {
        "TimecodeSource": "ZEROBASED",
        "InputClippings": [
            {"StartTimecode": "00:00:00:00", "EndTimecode": "00:00:09:11"},  # frame 237 would begin at 9.48 and last to 9.52
            {"StartTimecode": "00:00:20:13", "EndTimecode": "00:01:39:11"},
            {"StartTimecode": "00:02:10:13"},
        ],
    }


def test_what_is_to_go_to_the_end_is_followed_by_nothing():
    job = json.loads(cut_forms.mediaconvert(a_list(unwanted(0.0, 20.0), unwanted(200.0, 300.0)), Fraction(25)))
    assert job["InputClippings"] == [{"StartTimecode": "00:00:20:13", "EndTimecode": "00:03:19:11"}]
    with pytest.raises(BadSettings, match="nothing of the stream would be left"):
        cut_forms.mediaconvert(a_list(unwanted(0.0, 300.0)), Fraction(25))


@given(
    st.lists(st.tuples(MOMENTS, st.integers(1, 3_000).map(lambda ms: ms / 100)), max_size=8),
    st.sampled_from(["24", "25", "29.97", "30000/1001", "50", "59.94", "100", "23.976"]),
)
def test_no_frame_that_stays_lies_in_a_cut_and_every_other_stays(plays, rate):
    fps = cut_forms.frame_rate(rate)
    made = a_list(*(unwanted(begin_s, begin_s + length_s, track_id=f"t-{n}") for n, (begin_s, length_s) in enumerate(plays)), position_s=500.0)
    found = made.spans()
    job = json.loads(cut_forms.mediaconvert(made, fps))["InputClippings"]
    if not found:
        assert job == []
        return
    kept = set()
    for clip in job:
        assert all(TIMECODE.fullmatch(code) for code in clip.values())
        first, last = frame_of(clip["StartTimecode"], fps), frame_of(clip.get("EndTimecode", ""), fps)
        kept |= set(range(first, int(500 * fps) if last is None else last + 1))
    touched = {frame for a, b in found for frame in range(math.floor(Fraction(str(a)) * fps), math.ceil(Fraction(str(b)) * fps))}
    assert kept == set(range(int(500 * fps))) - touched


def frame_of(code, fps):
    if not code:
        return None
    hours, minutes, seconds, frames = map(int, code.split(":"))
    return (hours * 3_600 + minutes * 60 + seconds) * -(-fps.numerator // fps.denominator) + frames


def test_an_edit_decision_list_keeps_the_picture_and_lays_the_sound_in_pieces():
    text = cut_forms.edl(a_list(unwanted(10.0, 20.0)), Fraction(25))
    assert text.splitlines() == [
        "TITLE: late-night-radio",
        "FCM: NON-DROP FRAME",
        "",
        "001  AX       V     C        00:00:00:00 00:05:00:00 00:00:00:00 00:05:00:00",
        "* FROM CLIP NAME: late-night-radio",
        "002  AX       A     C        00:00:00:00 00:00:09:12 00:00:00:00 00:00:09:12",
        "* FROM CLIP NAME: late-night-radio",
        "003  AX       A     C        00:00:20:13 00:05:00:00 00:00:20:13 00:05:00:00",
        "* FROM CLIP NAME: late-night-radio",
    ]


def test_what_a_form_cannot_say_is_refused_with_one_that_can():
    many = a_list(*(unwanted(10.0 * n + 2, 10.0 * n + 5, track_id=f"t-{n}") for n in range(1_000)), position_s=20_000.0)
    with pytest.raises(BadSettings, match="up to 999, and these would be 1,002: use --format ffmpeg"):
        cut_forms.edl(many, Fraction(25))
    with pytest.raises(BadSettings, match="ends after 24 hours"):
        cut_forms.mediaconvert(a_list(unwanted(90_000.0, 90_010.0), position_s=100_000.0), Fraction(25))


@pytest.mark.parametrize("text", ["", "0", "-25", "101", "1/0", "nan", "inf", "1e9999999", "25 fps", "٢٥", "30000/0", "0.5"])
def test_what_is_no_frame_rate_is_none(text):
    with pytest.raises(ValueError, match="is no frame rate: write 25"):
        cut_forms.frame_rate(text)


def test_rates_are_exact():
    assert [cut_forms.frame_rate(text) for text in ("25", "29.97", "30000/1001", "23.976")] == [
        Fraction(25),
        Fraction(30_000, 1_001),
        Fraction(30_000, 1_001),
        Fraction(24_000, 1_001),
    ]
