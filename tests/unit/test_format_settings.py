"""The formats that recordings are copied to: as they are written in the settings, and what is said about those that cannot be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earmark.api.documents import Described
from earmark.errors import BadSettings
from earmark.metadata import checked
from earmark.settings import Format, Formats, formats_place, load
from earmark.settings.recordings import Catalogue
from earmark.stocking.targets import Master, copies_of, listed

MASTER = Master(name="a/one.flac", track_id="t", title="T", artists=("A", "B"), copies="", duration_s=200.0, content_sha256=bytes(range(32)))


def loaded(*targets: dict[str, Any], **environ: str) -> Formats:
    return load(environ={"EARMARK_FORMATS__TARGETS": json.dumps(targets), **environ}).settings.formats


def test_by_default_there_is_one_preview_in_aac_at_64_kbit_s() -> None:
    (preview,) = Formats().targets
    assert (preview.name, preview.codec, preview.bit_rate_kbps, preview.length_s) == ("preview", "aac", 64, None)


def test_formats_are_tables_of_the_settings_file_or_json_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "earmark.toml"
    tables = '[[formats.targets]]\nname = "radio"\ncodec = "mp3"\nkbps = 128\n\n[[formats.targets]]\nname = "master"\ncodec = "flac"\n'
    path.write_text(tables, encoding="utf-8")
    read = load(path, {}).settings.formats
    assert [(target.name, target.codec) for target in read.targets] == [("radio", "mp3"), ("master", "flac")]
    assert read == loaded({"name": "radio", "codec": "mp3", "kbps": 128}, {"name": "master", "codec": "flac"})
    assert load(environ={"EARMARK_FORMATS__TARGETS": "[]"}).settings.formats.targets == ()


@pytest.mark.parametrize(
    "target, says",
    [
        ({"name": "My Preview"}, "formats.targets.0.name"),
        ({"codec": "aac"}, "formats.targets.0.name"),
        ({"name": "p", "codec": "wav"}, "formats.targets.0.codec"),
        ({"name": "p", "kbps": 1_000}, "formats.targets.0.kbps"),
        ({"name": "p", "kbps": "sixty-four"}, "formats.targets.0.kbps"),
        ({"name": "p", "channels_max": 3}, "formats.targets.0.channels_max"),
        ({"name": "p", "length_s": 0}, "formats.targets.0.length_s"),
        ({"name": "p", "bitrate": 64}, "there is no setting formats.targets.0.bitrate"),
        ({"name": "p", "codec": "flac", "kbps": 64}, "the format p is lossless (flac), so it has no kbps: leave that out"),
        ({"name": "p", "codec": "mp3", "kbps": 100}, "the format p is mp3, which knows no 100 kbit/s: it knows 32, 40"),
        ({"name": "p", "begin_s": 30}, "the format p begins at 30 s and has no length_s: an excerpt needs one"),
    ],
)
def test_a_format_that_cannot_be_is_told_in_a_sentence(target: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSettings) as caught:
        loaded(target)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_two_formats_of_one_name_are_refused() -> None:
    with pytest.raises(BadSettings, match="formats.targets has more than one format called p: each name is one format's"):
        loaded({"name": "p"}, {"name": "p", "codec": "mp3"})


def test_more_formats_than_anybody_wants_are_refused() -> None:
    with pytest.raises(BadSettings, match=r"formats\.targets .*at most 8"):
        loaded(*({"name": f"p{number}"} for number in range(9)))


PLACED = {"EARMARK_CATALOGUE__PLACE": "s3://media/catalogue/", "EARMARK_CHECK__PLACE": "s3://media/check/"}


def test_copies_lie_below_the_catalogue_in_a_folder_that_is_none_of_it_or_where_they_are_put() -> None:
    catalogue = Catalogue(place="s3://media/catalogue/")
    assert formats_place(Formats(), catalogue) == "s3://media/catalogue/_formats/"
    assert formats_place(Formats(place="s3://previews/a/"), catalogue) == "s3://previews/a/"
    assert formats_place(Formats(), Catalogue()) == ""
    for place in ("s3://media/catalogue/_mine/", "s3://media/previews/", "s3://other/"):
        assert loaded(**PLACED, EARMARK_FORMATS__PLACE=place).place == place


@pytest.mark.parametrize(
    "place, says",
    [
        ("s3://media/catalogue/previews/", "lies in catalogue.place, so copies would be taken for recordings: name a folder there that begins with _"),
        ("s3://media/catalogue/", "lies in catalogue.place"),
        ("s3://media/", "holds catalogue.place, so copies could be taken for recordings"),
        ("s3://media/check/", "lies in check.place (s3://media/check/), so every copy would be checked"),
        ("s3://media/check/previews/", "lies in check.place"),
        ("s3://media/a//b/", "has two slashes in a row"),
        ("media/previews/", "formats.place"),
        ("s3://media/previews", "formats.place"),
    ],
)
def test_a_place_where_copies_would_be_taken_for_something_else_is_refused(place: str, says: str) -> None:
    with pytest.raises(BadSettings) as caught:
        loaded(**PLACED, EARMARK_FORMATS__PLACE=place)
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------------ keys


def keys(target: Format, **master: Any) -> str:
    (copy,) = copies_of(replace(MASTER, **master), Formats(targets=(target,)), prefix="catalogue/_formats/")
    return copy.key


def test_a_key_names_the_recording_the_format_and_the_bytes() -> None:
    key = keys(Format(name="preview"))
    assert key.startswith("catalogue/_formats/a/one.flac/preview-0001020304050607-") and key.endswith(".m4a")


def test_a_key_is_another_one_whenever_anything_in_the_file_is() -> None:
    preview = Format(name="preview")
    changed = [
        keys(preview),
        keys(preview, content_sha256=bytes(32)),
        keys(preview, title="U"),
        keys(preview, artists=("A",)),
        keys(Format(name="preview", kbps=96)),
        keys(Format(name="preview", channels_max=1)),
        keys(Format(name="preview", length_s=30)),
        keys(Format(name="preview", length_s=30, begin_s=10)),
        keys(Format(name="preview", codec="mp3")),
        keys(Format(name="other")),
        keys(preview, name="a/two.flac"),
    ]
    assert len(set(changed)) == len(changed)
    assert keys(preview, track_id="u", duration_s=1.0, copies="lossless") == changed[0] == keys(Format(name="preview", kbps=None, codec="aac"))


def test_settings_that_make_other_copies_are_told_from_each_other() -> None:
    one, other = Formats(), Formats(targets=(Format(name="preview", kbps=96),))
    assert len({listed(one, "s3://a/"), listed(other, "s3://a/"), listed(one, "s3://b/"), listed(Formats(bytes_max=100_000), "s3://a/")}) == 4
    assert listed(one, "s3://a/") == listed(Formats(jobs=3, attempts_max=9), "s3://a/")


# ------------------------------------------------------------------------------------------------ licences


@pytest.mark.parametrize(
    "copies, codec, allowed",
    [("", "aac", True), ("", "flac", False), ("lossy", "mp3", True), ("lossy", "flac", False), ("lossless", "flac", True), ("none", "aac", False)],
)
def test_what_a_licence_allows(copies: str, codec: Any, allowed: bool) -> None:
    (copy,) = copies_of(replace(MASTER, copies=copies), Formats(targets=(Format(name="p", codec=codec),)), prefix="")
    assert (copy.refusal == "") == allowed


def test_copies_are_said_in_one_of_three_words() -> None:
    assert checked({"copies": " Lossless "}) == ({"copies": "lossless"}, [])
    assert checked({"copies": ""}) == ({}, [])
    for wrong in ("yes", ["lossless"], True, "CC0-1.0"):
        (sentence,) = checked({"copies": wrong})[1]
        assert sentence.startswith("copies ") and ("none, lossy, lossless" in sentence or "must be text" in sentence)


def test_an_upload_may_say_it_too() -> None:
    assert Described(copies="Lossless").kept() == ({"copies": "lossless"}, [])
    (sentence,) = Described(copies="all").kept()[1]
    assert "copies 'all' is none: there is none, lossy, lossless" in sentence
