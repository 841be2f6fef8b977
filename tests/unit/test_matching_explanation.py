"""What proves a play: kept when it is told and when it is proved better, the same however the stream was cut, and never in a checkpoint."""

import re
from dataclasses import replace

import numpy as np
import pytest

import hits_samples as samples
from earmark.alias import Alias, Span
from earmark.hearing import Hearing, drive
from earmark.hits.proof.evidence import evidence_document, text
from earmark.hits.text import dumps
from earmark.matching import explanation
from earmark.matching.aliases import as_told
from earmark.model import RATE_HZ, Checkpoint, Explanation, Float32, MatchParams, Play
from hearing_sounds import catalogue, chunks, faster, noise, tune

FIRST = tune(1, 60)
INDEX = catalogue(first=FIRST, second=tune(2, 60))
ON_AIR = np.concatenate([noise(1, 5), FIRST[10 * RATE_HZ : 35 * RATE_HZ], noise(2, 20)])
VALID = samples.validator("evidence")


def hearing(*plays: Play) -> Hearing:
    return Hearing(params=MatchParams(), size=INDEX.size(), stream_id="stream", source="file", plays=plays)


def heard(sound: Float32, *sizes: int) -> list[Play]:
    listener = hearing()
    changed = [play for piece in chunks(sound, *(sizes or (8_000,))) for play in drive(listener.push(piece), INDEX.answer)]
    return changed + drive(listener.flush(), INDEX.answer)


def of(play: Play) -> Explanation:
    assert play.explanation is not None
    return play.explanation


def document(play: Play) -> dict:
    return evidence_document(stream_id="stream", play=play, explanation=of(play))


PLAYS = heard(ON_AIR)


def test_each_revision_brings_what_proves_it() -> None:
    assert [play.state for play in PLAYS] == ["provisional", "open", "closed"]
    told, opened, closed = (of(play) for play in PLAYS)
    assert told.threshold_nats < told.evidence_nats < opened.evidence_nats
    assert closed.evidence_nats >= opened.evidence_nats
    for play in PLAYS:
        assert 0.9 < of(play).evidence_nats / play.evidence_nats <= 1
        VALID.validate(document(play))


def test_the_main_lobe_stands_out_and_the_matched_peaks_lie_on_the_line() -> None:
    found = of(PLAYS[-1])
    middle = len(found.coincidences) // 2
    assert len(found.coincidences) % 2 == 1
    assert found.coincidences[middle] > 10 * np.delete(found.coincidences, middle).max()
    assert found.coincidences[middle] <= found.matched_n == len(found.stream_ms) <= found.heard_n
    assert np.all(np.diff(found.stream_ms) >= 0)
    assert found.begin_s * 1_000 - 1 <= found.stream_ms[0]
    assert found.stream_ms[-1] <= found.end_s * 1_000 + 1
    off_ms = found.reference_ms - (found.speed * found.stream_ms + 1_000 * found.offset_s)
    assert np.abs(off_ms).max() <= found.cell_frames / 2 * 32 + 1
    assert found.offset_s == pytest.approx(5, abs=0.01)
    assert np.all((found.eighth_hz >= 1_440) & (found.eighth_hz <= 30_400))


def test_a_line_at_another_speed_is_told_as_such() -> None:
    found = of(heard(faster(FIRST[5 * RATE_HZ : 45 * RATE_HZ], 1.03))[-1])
    assert found.speed == pytest.approx(1.03, abs=1e-3)
    assert found.offset_s == pytest.approx(5, abs=0.05)
    assert found.pitch_cents == pytest.approx(51.2, abs=2)


def test_any_cut_of_the_stream_gives_the_same_evidence() -> None:
    assert [document(play) for play in heard(ON_AIR, 311, 17_000, 4_096)] == [document(play) for play in PLAYS]


def test_more_peaks_than_are_kept_are_chosen_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "PEAKS_MAX", 40)
    few, all_of_them = of(heard(ON_AIR)[-1]), of(PLAYS[-1])
    assert (len(few.stream_ms), few.matched_n) == (40, all_of_them.matched_n)
    assert (few.stream_ms[0], few.stream_ms[-1]) == (all_of_them.stream_ms[0], all_of_them.stream_ms[-1])
    VALID.validate(document(heard(ON_AIR)[-1]))


def test_it_is_counted_a_few_times_a_play_not_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    explain = explanation.explain
    monkeypatch.setattr(explanation, "explain", lambda *arguments: counted.append(1) or explain(*arguments))
    heard(FIRST)
    assert 1 <= len(counted) <= 15


def test_it_is_no_part_of_the_play_nor_of_a_checkpoint() -> None:
    play = PLAYS[1]
    assert play == replace(play, explanation=None)
    checkpoint = Checkpoint(plays=(play,))
    stored = checkpoint.to_json()
    assert len(stored) < 1_500
    assert "explanation" not in stored
    restored = Checkpoint.from_json(stored)
    assert restored == checkpoint
    assert restored.plays[0].explanation is None


def test_who_takes_a_play_over_explains_it_only_if_it_hears_better() -> None:
    weak, strong = (replace(PLAYS[1], explanation=None, evidence_nats=nats) for nats in (40.0, 1e6))
    rest = chunks(FIRST[25 * RATE_HZ : 40 * RATE_HZ], 8_000, start_s=20.0)
    for play, better in ((weak, True), (strong, False)):
        listener = hearing(play)
        for piece in rest:
            drive(listener.push(piece), INDEX.answer)
        (closed,) = drive(listener.flush(), INDEX.answer)
        assert (closed.explanation is not None) is better


def test_its_document_is_small_and_can_be_drawn() -> None:
    found = document(PLAYS[-1])
    assert len(dumps(found)) < 15_000
    drawn = text(samples.hit(samples.play(track_id="first")), found)
    assert "on the line" in drawn
    assert max(map(len, drawn.splitlines())) <= 140
    assert drawn.count("█") >= 7  # the main lobe, from top to bottom
    slope = re.search(r"recording second = ([\d.]+) x stream second \+5\.00", drawn)
    assert slope is not None
    assert float(slope[1]) == pytest.approx(1, abs=1e-4)


def test_of_an_alias_it_says_whose_seconds_they_are() -> None:
    laid = Alias(track_id="the alias", of_duration_s=60.0, spans=(Span(begin_s=0.0, end_s=60.0, other_begin_s=10.0, other_end_s=70.0),))
    found = document(as_told(PLAYS[-1], laid))
    VALID.validate(found)
    assert (found["track_id"], found["heard_as"]) == ("first", "the alias")
    drawn = text(samples.hit(samples.play(track_id="first")), found)
    assert "(first), in its alias the alias" in drawn and "alias second = " in drawn and "recording second" not in drawn


def test_evidence_without_a_peak_is_drawn_too() -> None:
    none = np.zeros(0, np.int32)
    empty = replace(of(PLAYS[0]), coincidences=np.zeros(3, np.int32), matched_n=0, stream_ms=none, eighth_hz=none, reference_ms=none)
    found = evidence_document(stream_id="stream", play=PLAYS[0], explanation=empty)
    VALID.validate(found)
    assert "highest: 1" in text(samples.hit(), found)
