"""The policy file at work: hits that it decided, alerts that it withholds, and `earmark policy` as it is typed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hits_samples as samples
from control_rows import rows
from earmark.cli import main
from earmark.errors import AwsRefused, BadSettings
from earmark.hits.ledger import Ledger
from earmark.hits.rights import by_owner
from earmark.local.aws import AwsStandIn
from earmark.model import Lease, Play
from earmark.policies.deciding import Deciding
from earmark.policies.file import deciding
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Results

QUIET = 'version = 1\nname = "v7"\n[[licence]]\nid = "contract"\nlabels = ["Paper*"]\nchannels = ["*"]\n'


def nobody() -> Any:
    raise AssertionError("a file on disk takes no client")


@pytest.fixture
def lease(pool: Pool) -> Lease:
    with transaction(pool) as connection:
        return samples.insert_stream(connection)


def ledger(pool: Pool, lease: Lease, file: str) -> Ledger:
    return Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK),
        results=Results(bucket="results"),
        alerts=Alerts(topic_arn="arn:aws:sns:eu-west-1:123456789012:alerts"),
        nudge=lambda: None,
        now=samples.Clock(),
        decide=deciding(file, s3=nobody),
    )


def policy_of(pool: Pool) -> dict[str, Any]:
    (row,) = rows(pool, "select body->'policy' as policy from play")
    return dict(row["policy"])


def alerts(pool: Pool) -> int:
    return len(rows(pool, "select 1 from outbox where target = 'sns'"))


def written(folder: Path, text: str) -> str:
    (folder / "policy.toml").write_text(text, encoding="utf-8")
    return str(folder / "policy.toml")


PLAY = samples.play(state="open", explanation=samples.explanation(60.0))


def commit(pool: Pool, lease: Lease, file: str, *plays: Play) -> Ledger:
    made = ledger(pool, lease, file)
    for play in plays:
        made.commit(samples.checkpoint(), [play])
    return made


def test_what_is_licensed_is_on_record_as_allowed_and_nobody_gets_a_mail(pool: Pool, lease: Lease, tmp_path: Path) -> None:
    commit(pool, lease, written(tmp_path, QUIET), PLAY)
    policy = policy_of(pool)
    assert (policy["action"], policy["rule_id"], policy["notify"], policy["dry_run"]) == ("allow", "contract", False, True)
    assert policy["reason"] == "the licence contract allows it (v7)"
    assert alerts(pool) == 0


def test_without_a_file_owners_decide_and_all_are_told(pool: Pool, lease: Lease) -> None:
    assert deciding("", s3=nobody) is by_owner
    commit(pool, lease, "", PLAY)
    assert policy_of(pool)["rule_id"] is None and policy_of(pool)["notify"] is True
    assert alerts(pool) == 1


def test_who_was_not_to_be_told_is_told_when_that_changes(pool: Pool, lease: Lease, tmp_path: Path) -> None:
    """Also by the worker that comes after the one that decided so."""
    quiet = written(tmp_path, 'version = 1\n[[rule]]\nid = "quiet"\naction = "track"\nnotify = false\n')
    commit(pool, lease, quiet, PLAY)
    assert alerts(pool) == 0
    loud = ledger(pool, lease, "")
    loud.commit(samples.checkpoint(), [replace(PLAY, revision=2, state="closed", explanation=None)])
    assert alerts(pool) == 1
    loud.commit(samples.checkpoint(), [replace(PLAY, revision=3, state="closed", explanation=None)])
    assert alerts(pool) == 1


def test_who_was_told_of_a_play_is_told_once_more_when_it_is_to_be_blocked(pool: Pool, lease: Lease, tmp_path: Path) -> None:
    """Also by the worker that takes the play up; and not when it ends."""
    file = written(tmp_path, 'version = 1\n[[rule]]\nid = "long"\naction = "block"\nwhen = { played_s = { min = 60 } }\n')
    short = replace(PLAY, end_s=PLAY.begin_s + 20)
    commit(pool, lease, file, short)
    assert alerts(pool) == 1
    commit(pool, lease, file, replace(short, revision=2, end_s=PLAY.begin_s + 40))
    assert alerts(pool) == 1
    commit(pool, lease, file, replace(short, revision=3, end_s=PLAY.begin_s + 61))
    assert alerts(pool) == 2
    assert rows(pool, "select attributes->'attributes'->>'action' as told from outbox where target = 'sns' order by outbox_id") == [
        {"told": "track"},
        {"told": "block"},
    ]
    commit(pool, lease, file, replace(short, revision=4, state="closed", end_s=PLAY.begin_s + 70))
    assert alerts(pool) == 2


def test_what_was_in_the_foreground_still_is_when_another_worker_has_taken_the_play_up(pool: Pool, lease: Lease, tmp_path: Path) -> None:
    file = written(tmp_path, 'version = 1\n[[rule]]\nid = "front"\naction = "warn"\nwhen = { foreground = true }\n')
    loud = samples.explanation(60.0, heard_n=300, matched_n=210)
    commit(pool, lease, file, replace(PLAY, explanation=loud))
    commit(pool, lease, file, replace(PLAY, revision=2, state="closed", explanation=None))
    assert policy_of(pool)["rule_id"] == "front"
    assert rows(pool, "select body->'coverage'->'foreground_share' as share from play") == [{"share": 0.7}]


def test_a_file_that_is_wrong_or_gone_stops_the_start_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read: No such file"):
        deciding(str(tmp_path / "none.toml"), s3=nobody)
    with pytest.raises(BadSettings, match="cannot be read: Is a directory"):
        deciding(str(tmp_path), s3=nobody)
    with pytest.raises(BadSettings, match="does not say of which version"):
        deciding(written(tmp_path, ""), s3=nobody)


def test_it_may_be_an_object_of_s3(aws: AwsStandIn) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="rules")
    s3.put_object(Bucket="rules", Key="v7.toml", Body=QUIET.encode())
    decide = deciding("s3://rules/v7.toml", s3=lambda: s3)
    assert isinstance(decide, Deciding) and [licence.id for licence in decide.policies.licence] == ["contract"]
    with pytest.raises(AwsRefused, match="put the policy file there, or correct policy.file"):
        deciding("s3://rules/v8.toml", s3=lambda: s3)
    with pytest.raises(BadSettings, match="names no object: write s3://bucket/key"):
        deciding("s3://rules", s3=lambda: s3)
    s3.put_object(Bucket="rules", Key="large.toml", Body=b"#" * 1_100_000)
    with pytest.raises(BadSettings, match="large.toml"):
        deciding("s3://rules/large.toml", s3=lambda: s3)


# ------------------------------------------------------------------------------------------------ as it is typed


def test_check_counts_what_is_there_and_tells_what_never_comes_to_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", written(tmp_path, QUIET)]) == 0
    assert capsys.readouterr().out.endswith("policy.toml: 1 licence, 0 rules; every rule can be reached\n")
    twice = '[[rule]]\nid = "a"\naction = "warn"\n[[rule]]\nid = "b"\naction = "block"\n'
    assert main(["policy", "check", written(tmp_path, QUIET + twice)]) == 1
    assert "the rule b is never reached" in capsys.readouterr().out
    assert main(["policy", "check", written(tmp_path, "version = 3")]) == 2
    assert "version: input should be 1" in capsys.readouterr().err
    assert main(["policy", "check"]) == 2
    assert "no policy file is named" in capsys.readouterr().err


def test_a_hit_is_tried_from_the_record_from_a_file_and_from_standard_input(
    pool: Pool, dsn: str, lease: Lease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    commit(pool, lease, "", PLAY)
    file = written(tmp_path, QUIET + '[[rule]]\nid = "late"\naction = "block"\ngrace_s = 20\nwhen = { played_s = { min = 7200 }, sources = ["radio"] }\n')
    assert main(["policy", "test", PLAY.hit_id, "--file", file]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "allow: the licence contract allows it (v7)" and said[1] == "no alert tells of it"
    assert said[2] == "  licence contract: holds" and said[3].startswith("  rule late: the source is ")
    hit = tmp_path / "hit.json"
    hit.write_text(json.dumps(samples.hit(PLAY)), encoding="utf-8")
    assert main(["policy", "test", str(hit), "--file", file, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["policy"]["rule_id"] == "contract" and [one["id"] for one in document["considered"]] == ["contract", "late"]
    with hit.open(encoding="utf-8") as there:
        monkeypatch.setattr("sys.stdin", there)
        assert main(["policy", "test", "-", "--file", file]) == 0
    assert "allow" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "is not JSON"),
        ("[1]", "is no hit"),
        ('{"stream": 1, "track": {}, "query": {}, "coverage": {}, "reference": {}, "state": "open"}', "it is no hit as"),
    ],
)
def test_what_is_no_hit_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str) -> None:
    (tmp_path / "hit.json").write_text(text, encoding="utf-8")
    assert main(["policy", "test", str(tmp_path / "hit.json"), "--file", written(tmp_path, QUIET)]) == 2
    assert why in capsys.readouterr().err
