"""The cut list of a stream: on record and in S3, as it is typed, and at work on a recording that is muted by it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hits_samples as samples
from control_rows import rows
from earmark.cli import main
from earmark.hits.ledger import Ledger
from earmark.model import Checkpoint, Gap, Play
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Cuts, Results
from muting import muted

Run = Callable[..., tuple[int, str, str]]
ID = samples.STREAM.stream_id
BLOCKED = replace(samples.TRACK, track_id="blocked", policy="block", title='=HYPERLINK("x")\n\u202e<script>🎵' + "é" * 2_000)
WARNED = replace(samples.TRACK, track_id="warned", policy="warn", title="Warned")
GAPS = (Gap(begin_s=130.5, end_s=150.0, reason="origin_down"),)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dsn: str) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_CUTS__EDGE_S", "0.5")

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            code = main(["report", *argv])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def play(track_id: str, begin_s: float, end_s: float, **changes: Any) -> Play:
    return samples.play(track_id, begin_s=begin_s, length_s=end_s - begin_s, **{"state": "closed"} | changes)


def ended(pool: Pool, *plays: Play, gaps: tuple[Gap, ...] = GAPS, decide: Any = None, **changes: Any) -> None:
    with transaction(pool) as connection:
        lease = samples.insert_stream(connection)
    ledger = Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK, BLOCKED, WARNED),
        results=Results(bucket="results"),
        alerts=Alerts(),
        nudge=lambda: None,
        now=samples.Clock(),
        cuts=Cuts(edge_s=0.5),
        **({"decide": decide} if decide else {}),
    )
    checkpoint: Checkpoint = samples.checkpoint(300.0, gaps=gaps, **{"state": "ended", "end_reason": "stream_end"} | changes)
    ledger.commit(checkpoint, plays)


def in_outbox(pool: Pool) -> dict[str, Any]:
    (row,) = rows(pool, "select body from outbox where key like '%%/cut-list.json'")
    document = json.loads(row["body"])
    samples.validator("cut-list").validate(document)
    return dict(document)


def test_what_a_policy_blocks_is_in_the_streams_folder_and_what_it_does_not_is_left(pool: Pool) -> None:
    ended(pool, play("blocked", 100.0, 130.0), play("warned", 200.0, 230.0), play(samples.TRACK.track_id, 20.0, 50.0))
    document = in_outbox(pool)
    assert [(cut["begin_s"], cut["end_s"], [one["track_id"] for one in cut["plays"]]) for cut in document["cuts"]] == [(99.5, 130.5, ["blocked"])]
    assert document["cuts"][0]["plays"][0]["reason"] == "Paper Boat Rights Ltd says block"
    assert [(gap["reason"], gap["beside_a_cut"]) for gap in document["unknown"]] == [("origin_down", True)]
    (summary,) = rows(pool, "select body from outbox where key like '%%/stream.json'")
    assert json.loads(summary["body"])["links"]["cut_list"] == f"s3://results/{ID}/cut-list.json"


def test_a_play_that_ended_within_its_rules_grace_stays(pool: Pool) -> None:
    from earmark.hits.rights import Policy

    def decide(_track: object, _play: object) -> Policy:
        return Policy(action="block", reason="house rule", dry_run=True, rule_id="r1", grace_s=20.0)

    ended(pool, play("blocked", 10.0, 25.0), play("blocked", 100.0, 130.0), decide=decide)
    (cut,) = in_outbox(pool)["cuts"]
    assert (cut["begin_s"], cut["plays"][0]["rule_id"]) == (99.5, "r1")


def test_what_was_only_supposed_is_not_cut(pool: Pool, typed: Run) -> None:
    ended(pool, play("blocked", 100.0, 130.0, state="provisional"), state="listening", end_reason=None)
    assert json.loads(typed(ID, "--format", "cuts")[1])["cuts"] == []


# ------------------------------------------------------------------------------------------------ as it is typed


def test_each_form_is_typed_and_gaps_are_told_besides(pool: Pool, typed: Run) -> None:
    ended(pool, play("blocked", 100.0, 130.0), play("warned", 200.0, 230.0))
    code, out, err = typed(ID, "--format", "cuts")
    document = json.loads(out)
    samples.validator("cut-list").validate(document)
    assert (code, err, document["links"]) == (0, "", {})
    assert {name: document[name] for name in ("cuts", "unknown", "cut_s")} == {name: in_outbox(pool)[name] for name in ("cuts", "unknown", "cut_s")}
    unknown = "earmark: 0:20 in 1 gap was not heard and is left as it is: --format cuts names them\n"
    assert typed(ID, "--format", "ffmpeg") == (0, "asetnsamples=n=256:p=0,volume=volume=0:enable='between(t,99.500,130.500)'\n", unknown)
    code, out, err = typed(ID, "--format", "mediaconvert", "--fps", "25")
    assert (code, err) == (0, unknown)
    assert json.loads(out)["InputClippings"] == [{"StartTimecode": "00:00:00:00", "EndTimecode": "00:01:39:11"}, {"StartTimecode": "00:02:10:13"}]
    assert typed(ID, "--format", "edl", "--fps", "29.97")[1].count("  AX       A     C  ") == 2
    code, out, _ = typed(ID, "--format", "ffmpeg", "--actions", "warn, block")
    assert out.count("between") == 2


def test_a_recording_that_begins_later_is_named_by_its_second_or_its_moment(pool: Pool, typed: Run) -> None:
    ended(pool, play("blocked", 100.0, 130.0))
    assert "between(t,39.500,70.500)" in typed(ID, "--format", "ffmpeg", "--offset", "60")[1]
    assert "between(t,39.500,70.500)" in typed(ID, "--format", "ffmpeg", "--offset", "2026-11-21T12:01:00Z")[1]
    assert "between(t,39.500,70.500)" in typed(ID, "--format", "ffmpeg", "--offset", "2026-11-21T13:01:00+01:00")[1]
    assert "between(t,109.500,140.500)" in typed(ID, "--format", "ffmpeg", "--offset", "-10")[1]
    assert typed(ID, "--format", "ffmpeg", "--offset", "200")[1] == "anull\n"


WRONG = [
    ((ID, "--format", "mediaconvert"), "--format mediaconvert counts frames: say how many a second has (--fps 25"),
    ((ID, "--format", "edl", "--fps", "1/0"), "--fps: '1/0' is no frame rate"),
    ((ID, "--format", "ffmpeg", "--fps", "25"), "--fps is for --format mediaconvert and edl"),
    ((ID, "--format", "csv", "--actions", "block"), "--actions is for cut lists"),
    ((ID, "--format", "text", "--offset", "3"), "--offset is for cut lists"),
    ((ID, "--format", "cuts", "--offset", "soon"), "--offset 'soon' is neither a number of seconds nor a moment"),
    ((ID, "--format", "cuts", "--offset", "nan"), "--offset nan is more than a month from the stream's begin"),
    ((ID, "--format", "cuts", "--offset", "1999-01-01T00:00:00Z"), "is more than a month from the stream's begin"),
    ((ID, "--format", "cuts", "--since", "7d"), "--since is of many streams: leave STREAM out"),
    ((ID, "--format", "jsonl"), f"--format jsonl is across streams: name them by --since, --until or --channel (--channel {ID})"),
    (("--format", "cuts", "--since", "7d"), "--format cuts is of one stream: name it"),
    (("st-none", "--format", "cuts"), "the stream 'st-none' is not in the database"),
]


@pytest.mark.parametrize("argv, said", WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_what_makes_no_sense_is_refused_in_a_sentence(pool: Pool, typed: Run, argv: tuple[str, ...], said: str) -> None:
    ended(pool, play("blocked", 100.0, 130.0))
    code, out, err = typed(*argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_an_action_that_there_is_not_is_refused(typed: Run) -> None:
    code, out, err = typed(ID, "--format", "cuts", "--actions", "block,explode")
    assert (code, out) == (2, "")
    assert "there is no action 'explode'; there is block, mute" in err


# ------------------------------------------------------------------------------------------------ at work


def test_a_recording_muted_by_its_cut_list_has_nothing_of_what_is_to_go_and_all_of_the_rest(pool: Pool, dsn: str, tmp_path: Path) -> None:
    done = muted(pool, dsn, tmp_path, seed=2)
    assert done.unwanted_s > 110 and done.others_s > 75
    assert done.audible_s == 0
    assert done.recognised == ()
    assert done.allowed_stays
    assert done.lost_s <= 0.02 * done.others_s
    assert len(done.begins_s) == len(done.ends_s) == 6
