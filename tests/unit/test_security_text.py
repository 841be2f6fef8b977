"""Texts that strangers write, on their way out: no header, no formula, no markup, no path and no terminal takes them for its own."""

import csv
import io
import json
import string
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hits_samples as samples
from earmark.errors import AwsRefused, BadSettings
from earmark.hits.mail import alert
from earmark.hits.record import Line, Outgoing, Place, safe_name
from earmark.hits.reports import report
from earmark.hits.sinks import FileSink
from earmark.hits.text import as_cell, is_storable, of_cell, shown
from earmark.local import manifest, recordings
from earmark.model import Track
from fuzz_bytes import TEXTS

HOSTILE = sorted({text for text in TEXTS if len(text) < 5_000})
ANY = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60), st.text(st.characters(), max_size=60))
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
quick = settings(deadline=None, max_examples=150)


def track(text: str) -> Track:
    return Track(track_id=text or "t", title=text, artists=(text,), album=text, label=text, isrc=(text,), iswc=(text,), upc=(text,), rights_holder=text)


def reported(text: str) -> report.StreamReport:
    stream = replace(samples.STREAM, channel_name=text, stream_id=text or "st")
    line = Line.of(samples.hit(samples.play(text if text and is_storable(text) else "t", state="closed"), stream=stream, track=track(text)))
    checkpoint = samples.checkpoint(300.0, state="ended", end_reason="stream_end", last_error=text)
    return report.StreamReport(stream=stream, checkpoint=checkpoint, plays=(line,), worker=text, updated_at=samples.NOON)


# ------------------------------------------------------------------------------------------------ headers of mails


@quick
@given(ANY, ANY, ANY)
@example("\r\nBcc: everybody@example.com", "\nX: y", "\0")
@example("x" * 5_000, "é" * 5_000, "東京" * 500)
def test_no_title_channel_or_id_adds_a_header_to_a_mail_or_is_refused_by_sns(title: str, channel: str, stream_id: str) -> None:
    """A subject of SNS: 1 to 99 characters of printable ASCII, beginning with no space; attributes without control characters."""
    stream = replace(samples.STREAM, channel_name=channel, stream_id=stream_id or "st")
    sent = alert.outgoing(samples.hit(samples.play(title if title and is_storable(title) else "t"), stream=stream, track=track(title)), place=samples.PLACE)
    subject = sent.attributes["subject"]
    assert 0 < len(subject) < 100
    assert set(subject) <= set(string.printable) - set("\r\n\t\x0b\x0c")
    assert subject[0] != " "
    for value in sent.attributes["attributes"].values():
        assert 0 < len(value) <= 256
        assert all(c.isprintable() or c == " " or ord(c) > 0x9F for c in value), value
    mail = json.loads(sent.body)["email"]
    body, _, links = mail.partition("\n\nThe hit as JSON:\ns3://")
    assert links
    labels = ("On", "From", "To", "Stream", "Policy", "How sure", "Heard", "Changed", "Note", "Owner", "Album", "Label", "ISRC", "Track", "Hit")
    assert [line for line in body.splitlines() if "<script" in line and line.startswith(labels) and line.endswith("html>")] == []
    assert not any(ord(c) < 0x20 and c != "\n" for c in mail)


# ------------------------------------------------------------------------------------------------ spreadsheets


STORABLE = ANY.filter(is_storable)


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


@quick
@given(STORABLE)
@example("=cmd|' /C calc'!A0")
@example("'=1+1")
@example(" \u00a0=1")
def test_no_cell_of_a_cue_sheet_is_a_formula(text: str) -> None:
    assert [cell for cell in cells(report.cue_sheet_csv(reported(text))) if cell.lstrip().startswith(FORMULAS)] == []


@quick
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
@example("=1+1")
@example("'=1+1")
@example("''@x")
@example("\t=1")
@example("- -")
@example("'tis")
def test_what_keeps_a_cell_from_being_a_formula_comes_off_again(text: str) -> None:
    assert of_cell(as_cell(text)) == text
    assert not as_cell(text).startswith(FORMULAS)
    assert not as_cell(text).lstrip().startswith(FORMULAS[:4])


@pytest.mark.parametrize("text", [*FORMULAS[:4], "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "  =1", "\uff1d1", "a;=1", "=a;b"])
def test_a_catalogue_exported_as_csv_has_no_formula_and_is_added_as_it_was(text: str, tmp_path: Path) -> None:
    row = {name: recordings._cell(value) for name, value in vars(track(text)).items()}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["path", *row])
    writer.writeheader()
    writer.writerow({"path": "a.flac", **row})
    assert [cell for cell in cells(out.getvalue()) if cell.lstrip().startswith(FORMULAS)] == []
    path = tmp_path / "tracks.csv"
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    (source,) = manifest.read(path)
    assert (source.track_id, source.metadata["title"], source.metadata["rights_holder"]) == (text, text, text)
    assert source.metadata["artists"] == tuple(filter(None, map(str.strip, text.split(";"))))


# ------------------------------------------------------------------------------------------------ pages


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


@quick
@given(ANY.filter(lambda text: text.strip() and text.isprintable()))
@example("</style></title></script><script>alert(1)</script><!--")
@example("' onload='alert(1)' x=\"")
def test_no_text_adds_a_tag_or_an_attribute_to_the_report(text: str) -> None:
    assert Tags(report.html(reported(text))).seen == Tags(report.html(reported("plain" if len(text) else text))).seen


# ------------------------------------------------------------------------------------------------ paths


@quick
@given(ANY, ANY)
@example("..", ".")
@example("../../x", "/etc/passwd")
@example("a\0b", "e\u0301")
@example("A" * 5_000, "\ufb01")
def test_no_stream_or_hit_id_leaves_its_folder_or_meets_another(one: str, other: str) -> None:
    name = safe_name(one)
    assert set(name) <= set(string.ascii_letters + string.digits + "._-~")
    assert 0 < len(name) <= 128
    assert name[0] != "."
    assert (name == safe_name(other)) == (one == other)
    place = Place(bucket="b", prefix="p/", stream_id=one)
    for key in (place.stream_key, place.cue_sheet_key, place.report_key, place.hit_key(other), place.evidence_key(other)):
        assert key.startswith(f"p/{name}/")
        assert not {"", ".", ".."} & set(key.split("/"))
        assert len(key.encode()) <= 1_024


def test_spellings_of_one_name_are_two() -> None:
    assert len({safe_name(text) for text in ("é", "e\u0301", "\u00c9", "ﬁ", "fi", "FI", "a/b", "a//b", "a\\b", "a b", "a%2fb", "")}) == 12


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "..", ".revisions/x", "a/../x"])
def test_a_folder_is_not_left_by_a_key(key: str, tmp_path: Path) -> None:
    sink = FileSink(folder=tmp_path / "inside")
    with pytest.raises(AwsRefused, match="leads out of"):
        sink.send(Outgoing(target="s3", stream_id="st", key=key, revision=1, content_type="text/plain", body="x"))
    assert list(tmp_path.rglob("*")) == []


# ------------------------------------------------------------------------------------------------ terminals


@quick
@given(ANY)
@example("\x1b]0;owned\x07\x1b[2J")
@example("one\ntwo\r\x08three\x9b31m")
def test_no_text_moves_a_terminals_cursor(text: str) -> None:
    assert all(c.isprintable() or 0xD800 <= ord(c) < 0xE000 for c in shown(text))


def test_a_command_that_fails_tells_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from earmark.cli import _fail

    assert _fail(BadSettings("the file \x1b[2Ja\nb is not there"), 2) == 2
    assert capsys.readouterr().err == "earmark: the file \ufffd[2Ja\ufffdb is not there\n"
    assert sys.stderr
