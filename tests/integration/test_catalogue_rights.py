"""Policy, territories and times of a recording, through the command line and back."""

import csv
import json
from pathlib import Path

import pytest

from earmark.cli import main
from stocked_bucket import recording

SAID = {"policy": "warn", "territories": ["DE", "AT"], "valid_from": "2026-01-01", "valid_to": "2026-06-30T12:00:00+02:00", "tags": ["cleared for news"]}
KEPT = {"policy": "warn", "territories": ["DE", "AT"], "valid_from": "2026-01-01T00:00:00Z", "valid_to": "2026-06-30T10:00:00Z", "tags": ["cleared for news"]}


@pytest.fixture(autouse=True)
def _recording(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.flac").write_bytes(recording(1))


def manifest(**said: object) -> int:
    Path("m.json").write_text(json.dumps([{"path": "one.flac", "track_id": "mine", **said}]), encoding="utf-8")
    return main(["catalogue", "add", "--manifest", "m.json", "--jobs", "1"])


def test_what_a_manifest_says_of_rights_is_listed_shown_and_exported_and_may_be_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert manifest(**SAID) == 0
    capsys.readouterr()
    main(["catalogue", "show", "mine"])
    shown = json.loads(capsys.readouterr().out)["track"]
    main(["catalogue", "list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert {name: shown[name] for name in KEPT} == {name: listed[name] for name in KEPT} == KEPT
    main(["catalogue", "export", "--format", "csv"])
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["territories"], row["valid_to"]) == ("DE;AT", "2026-06-30T10:00:00Z")
    with Path("m.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", *row])
        writer.writeheader()
        writer.writerow({"path": "one.flac", **row})
    assert main(["catalogue", "add", "--manifest", "m.csv", "--jobs", "1"]) == 0
    assert capsys.readouterr().out == "1 unchanged\n"


def test_what_is_wrong_with_them_is_told_with_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert manifest(policy="blokc") == 2
    assert "row 1 of the manifest m.json cannot be used: its policy 'blokc' is none: there is track, allow, warn, block" in capsys.readouterr().err
