"""`earmark catalogue formats`, as somebody types it: what it makes, what it says, and what is wrong."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from control_rows import rows
from earmark.cli import main
from earmark.ingest import ingest
from earmark.local import formats as at_the_desk
from earmark.local.aws import AwsStandIn, credentials
from stocked_bucket import BUCKET, PLACE, Shelf, WatchedEncoder, recording

WRITTEN = f"{PLACE}_formats/"
MASTER = '[{"name": "master", "codec": "flac"}]'


class Said(NamedTuple):
    code: int
    out: list[str]
    err: str


#: `earmark` with arguments, and changes of the environment.
Earmark = Callable[..., Said]


@pytest.fixture
def earmark(aws: AwsStandIn, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Earmark:
    def run(*arguments: str, **changed: str) -> Said:
        capsys.readouterr()  # what the shelf has said
        with monkeypatch.context() as patch:
            for name, value in {**credentials(aws.endpoint_url), "EARMARK_DATABASE__DSN": dsn, "EARMARK_CATALOGUE__PLACE": PLACE, **changed}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        said = capsys.readouterr()
        return Said(code, said.out.splitlines(), said.err)

    return run


@pytest.fixture
def lent(encoder: WatchedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do not begin a process each, which takes longer than all else that they do."""
    monkeypatch.setattr(at_the_desk, "Encoder", lambda: SimpleNamespace(encode=encoder.encode, close=lambda: None))


def copies(shelf: Shelf) -> list[str]:
    return [entry["Key"] for entry in shelf.s3.list_objects_v2(Bucket=BUCKET, Prefix="catalogue/_formats/").get("Contents", ())]


def first_words(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[:-1]]


@pytest.mark.usefixtures("lent")
def test_it_makes_what_is_wanted_and_again_only_what_is_asked_for(shelf: Shelf, earmark: Earmark) -> None:
    shelf.has("one.flac", recording(1)).has("two.flac", recording(2))
    code, lines, _ = earmark("catalogue", "formats")
    assert (code, first_words(lines)) == (0, ["made", "made"])
    assert lines[0].startswith(f"made     {WRITTEN}one.flac/preview-") and "key:one.flac, preview: 0:04, 1 channel at 16,000 Hz, " in lines[0]
    assert lines[-1] == f"{WRITTEN}: 2 made; there are 2 now"
    before, written = copies(shelf), rows(shelf.pool, "select made_at from track_format")
    assert earmark("catalogue", "formats").out == [f"{WRITTEN}: nothing was to be done; there are 2 now"]
    assert rows(shelf.pool, "select made_at from track_format") == written

    shelf.s3.delete_object(Bucket=BUCKET, Key=before[1])
    code, lines, _ = earmark("catalogue", "formats")
    assert (code, first_words(lines), copies(shelf)) == (0, ["missing", "made"], before)
    assert earmark("catalogue", "formats", "--again", "key:one.flac").out[-1] == f"{WRITTEN}: 1 made"


def test_it_says_what_a_licence_forbids_and_what_is_removed(shelf: Shelf, earmark: Earmark) -> None:
    shelf.has("one.flac", recording(1)).has("two.flac", recording(2)).has("two.flac.json", {"copies": "lossless"})
    lines = earmark("catalogue", "formats", EARMARK_FORMATS__TARGETS=MASTER).out
    assert first_words(lines) == ["made"] and "two.flac/master-" in lines[0]
    assert lines[-1] == f"{WRITTEN}: 1 made; there are 1 now; 1 may not be made, by their recordings' licences"
    lines = earmark("catalogue", "formats", EARMARK_FORMATS__TARGETS="[]").out
    assert first_words(lines) == ["removed"] and lines[-1] == f"{WRITTEN}: 1 removed; there are 0 now" and copies(shelf) == []


def test_of_a_recording_from_disk_it_says_why_there_are_none(shelf: Shelf, earmark: Earmark, tmp_path: Path) -> None:
    (tmp_path / "disk.flac").write_bytes(recording(3))
    (added,) = ingest([tmp_path / "disk.flac"], pool=shelf.pool, jobs=1)
    why = "did not come from the catalogue's bucket (catalogue.place), so there is no object that copies could be made of"
    assert earmark("catalogue", "formats").out == [f"{WRITTEN}: nothing was to be done; there are 0 now; 1 recording {why}"]
    code, _, err = earmark("catalogue", "formats", added.track_id)
    assert (code, err) == (1, f"earmark: none are made of {added.track_id}: it {why}\n")
    assert any("did not come from the catalogue's bucket" in line for line in earmark("catalogue", "show", added.track_id).out)


@pytest.mark.parametrize(
    "arguments, changed, code, says",
    [
        (["nobody"], {}, 2, "the catalogue has no recording nobody: `earmark catalogue list` shows those it has"),
        ([], {"EARMARK_CATALOGUE__PLACE": ""}, 2, "set catalogue.place to s3://bucket/catalogue/"),
        ([], {"EARMARK_FORMATS__PLACE": f"{PLACE}copies/"}, 2, "copies would be taken for recordings: name a folder there that begins with _"),
        ([], {"EARMARK_FORMATS__PLACE": "s3://no-such-bucket-here/of/"}, 1, "s3:ListBucket of s3://no-such-bucket-here/of/ was refused: NoSuchBucket"),
        ([], {"EARMARK_FORMATS__TARGETS": '[{"name": "p", "codec": "flac", "kbps": 64}]'}, 2, "is lossless (flac), so it has no kbps: leave that out"),
        (["\udcff"], {}, 2, "is not UTF-8"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(shelf: Shelf, earmark: Earmark, arguments: list[str], changed: Any, code: int, says: str) -> None:
    said = earmark("catalogue", "formats", *arguments, **changed)
    assert said.code == code and says in said.err and said.err.count("\n") == 1 and said.out == []


@pytest.mark.usefixtures("lent")
def test_what_fails_is_told_and_makes_the_command_fail(shelf: Shelf, earmark: Earmark) -> None:
    shelf.has("one.flac", recording(5, 8.0)).has("one.flac.json", {"copies": "lossless"})
    code, lines, _ = earmark("catalogue", "formats", EARMARK_FORMATS__TARGETS=MASTER, EARMARK_FORMATS__BYTES_MAX="100000")
    assert (code, first_words(lines)) == (1, ["failed"]) and "more than 100,000 bytes (formats.bytes_max)" in lines[0]
    assert lines[-1].endswith("1 failed; there are 0 now; 1 could not be made (`earmark catalogue formats --again` tries them again)")
