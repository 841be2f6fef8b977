"""The demo's judge must be able to say no: each way in which a record can be wrong is found and named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from earmark.local.programme import Part, Programme
from earmark.local.verdict import judge
from earmark.model import Track

A, B = Track(track_id="a", title="Slate Harbour"), Track(track_id="b", title="Viaduct in Teal")
PROGRAMME = Programme(
    samples=np.zeros(0, np.float32),
    parts=(
        Part(what="silence", begin_s=0, end_s=3),
        Part(what="as it is", begin_s=3, end_s=20, track=A, reference_begin_s=30),
        Part(what="music that is not in the catalogue", begin_s=20, end_s=32),
        Part(what="3 % fast", begin_s=32, end_s=50, track=B, reference_begin_s=10, speed=1.03),
    ),
    recordings=(),
)
SUMMARY = {
    "state": "ended",
    "end_reason": "stream_end",
    "coverage": {"heard_s": 50.0, "gap_s": 0.0, "total_s": 50.0, "unaccounted_s": 0.0, "gap_s_by_reason": {}},
}
TOLD = {"hit-a": 9.0, "hit-b": 41.0, "hit-x": 25.0}


def _hit(hit_id: str, track: Track, begin_s: float, end_s: float, reference_begin_s: float, *, speed: float = 1.0, state: str = "closed") -> dict[str, Any]:
    return {
        "hit_id": hit_id,
        "state": state,
        "query": {"begin_s": begin_s, "end_s": end_s},
        "reference": {"track_id": track.track_id, "begin_s": reference_begin_s},
        "transform": {"speed": speed},
        "score": {"false_alarms_per_hour": 1e-9},
        "track": {"title": track.title},
    }


HIT_A = _hit("hit-a", A, 3.5, 19.5, 30.5)
HIT_B = _hit("hit-b", B, 33.0, 49.0, 11.03, speed=1.0302)


def _wrong(*hits: dict[str, Any], summary: Any = SUMMARY, programme: Programme = PROGRAMME) -> list[str]:
    return [finding.text for finding in judge(programme, hits, summary=summary, told_after_s=TOLD) if not finding.ok]


def test_all_as_it_was() -> None:
    findings = judge(PROGRAMME, [HIT_A, HIT_B], summary=SUMMARY, told_after_s=TOLD)
    assert [finding.ok for finding in findings] == [True] * 5
    text = "\n".join(str(finding) for finding in findings)
    assert "Slate Harbour" in text
    assert "in S3 after 6.0 s" in text
    assert "listening" in text  # how sure, in words
    assert "music that is not in the catalogue: on air 20-32 s, rightly not reported" in text
    assert "every second accounted for" in text


@pytest.mark.parametrize(
    "hits,complaint",
    [
        ([HIT_A], "never heard"),
        ([HIT_A, HIT_B, {**HIT_B, "hit_id": "hit-x"}], "on record 2 times"),
        ([_hit("hit-a", A, 3.5, 30.0, 30.5), HIT_B], "begin or end is off"),
        ([_hit("hit-a", A, 11.0, 19.5, 38.0), HIT_B], "begin or end is off"),
        ([HIT_A, _hit("hit-b", B, 33.0, 49.0, 11.03, speed=1.0)], "the speed was 1.030"),
        ([_hit("hit-a", A, 3.5, 19.5, 35.0), HIT_B], "that was the recording from 30.5 s"),
        ([_hit("hit-a", A, 3.5, 19.5, 30.5, state="open"), HIT_B], "it is still open"),
        ([HIT_A, HIT_B, _hit("hit-x", Track(track_id="x", title="Umber Quarry"), 22.0, 30.0, 0)], "taken for Umber Quarry"),
        ([HIT_A, HIT_B, _hit("hit-x", Track(track_id="x", title="Umber Quarry"), 5.0, 12.0, 0)], "Umber Quarry was reported 5.0-12.0 s and was not on air"),
        ([HIT_A, HIT_B, _hit("hit-x", A, 40.0, 48.0, 0)], "Slate Harbour was reported 40.0-48.0 s and was not on air"),
    ],
)
def test_what_is_wrong_is_named(hits: list[dict[str, Any]], complaint: str) -> None:
    assert any(complaint in text for text in _wrong(*hits))


@pytest.mark.parametrize(
    "change",
    [{"state": "listening"}, {"coverage": {**SUMMARY["coverage"], "unaccounted_s": 2.0}}, {"coverage": {**SUMMARY["coverage"], "total_s": 40.0}}],
)
def test_seconds_that_nobody_accounts_for_are_wrong(change: dict[str, Any]) -> None:
    assert len(_wrong(HIT_A, HIT_B, summary={**SUMMARY, **change})) == 1


def test_one_recording_played_twice_in_a_row_is_two_plays() -> None:
    twice = replace(PROGRAMME, parts=(Part(what="as it is", begin_s=0, end_s=18, track=A), Part(what="again", begin_s=20, end_s=38, track=A)))
    summary = {**SUMMARY, "coverage": {**SUMMARY["coverage"], "total_s": 38.0}}
    assert _wrong(_hit("hit-a", A, 0.2, 17.9, 0.2), _hit("hit-b", A, 20.1, 38.0, 0.1), summary=summary, programme=twice) == []
    assert len(_wrong(_hit("hit-a", A, 0.2, 17.9, 0.2), summary=summary, programme=twice)) == 1


def test_a_stream_without_a_summary_is_wrong() -> None:
    assert _wrong(HIT_A, HIT_B, summary=None) == ["the stream has no summary"]


def test_a_gap_is_told_and_is_no_fault_while_it_is_accounted_for() -> None:
    coverage = {**SUMMARY["coverage"], "heard_s": 46.0, "gap_s": 4.0, "gap_s_by_reason": {"worker_lost": 4.0}}
    findings = judge(PROGRAMME, [HIT_A, HIT_B], summary={**SUMMARY, "coverage": coverage}, told_after_s=TOLD)
    assert findings[-1].ok
    assert "4.0 s missed (4.0 s worker_lost)" in findings[-1].text


def test_what_is_on_air_at_a_time() -> None:
    assert PROGRAMME.at(-1) is None
    assert PROGRAMME.at(3).track is A  # type: ignore[union-attr]
    assert PROGRAMME.at(50) is None
    assert PROGRAMME.plays == (PROGRAMME.parts[1], PROGRAMME.parts[3])
    assert replace(PROGRAMME, parts=()).plays == ()
