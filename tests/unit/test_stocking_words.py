"""What is said about a recording: by its sidecar, by manifests, by its own tags, by its name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.control.catalogue_objects import kind_of
from earmark.stocking.bucket import KEY_BYTES_MAX, Bucket
from earmark.stocking.words import described, of_manifest, of_sidecar, of_tags
from stocked_bucket import SIDECAR


def nothing() -> None:
    """Nobody waits for a beat."""


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.flac", "audio"),
        ("below/a.mp3", "audio"),
        ("no suffix", "audio"),
        ("a.zip", "audio"),  # tried, and rejected in sight of everybody
        ("../a.flac", "audio"),
        ("_a.flac", "audio"),
        ("a.flac.json", "sidecar"),
        ("a.json", "sidecar"),
        ("manifest.csv", "manifest"),
        ("below/manifest.json", "manifest"),
        ("cover.JPG", None),
        ("notes.txt", None),
        ("other.csv", None),
        ("below/", None),
        ("", None),
        (".DS_Store", None),
        (".hidden/a.flac", None),
        ("_rejected/a.flac.json", None),
        ("below/_drafts/a.flac", None),
    ],
)
def test_an_object_is_what_its_name_says(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_a_sidecar_goes_before_a_manifest_and_that_before_tags() -> None:
    tags = {"title": "tag", "artist": "tag", "album": "tag", "isrc": "DEA012345678"}
    track, given_id = described("x/a.flac", tags=tags, manifest={"title": "manifest", "artists": ["manifest"]}, sidecar={"title": "sidecar"})
    assert (track.title, track.artists, track.album, track.isrc) == ("sidecar", ("manifest",), "tag", ("DEA012345678",))
    assert (track.track_id, given_id) == ("isrc:DEA012345678", False)


def test_a_track_id_is_the_one_that_is_given_else_the_isrc_else_the_key() -> None:
    def of(**sidecar: object) -> str:
        return described("x/a.flac", tags={}, manifest={}, sidecar=sidecar)[0].track_id

    assert of(track_id="mine", isrc=["GBAYE0601498"]) == "mine"
    assert of(isrc=["GBAYE0601498", "GBAYE0601499"]) == "isrc:GBAYE0601498"
    assert of() == "key:x/a.flac"


def test_without_any_words_the_title_is_the_files_name() -> None:
    assert described("x/Blue Sky.flac", tags={}, manifest={}, sidecar={})[0].title == "Blue Sky"


@pytest.mark.parametrize(
    "data, says", [(b"\xff\xfe", "is not UTF-8"), (b"{", "is not JSON"), (b"[" * 100_000, "nested too deeply"), (b"[]", "must be one JSON object")]
)
def test_a_sidecar_that_cannot_be_read_is_told(data: bytes, says: str) -> None:
    words = of_sidecar(data, "a.flac.json")
    assert not words.said and says in words.wrong[0] and words.wrong[0].startswith("a.flac.json")


def test_a_sidecar_counts_as_a_whole_or_not_at_all() -> None:
    assert of_sidecar(json.dumps(SIDECAR).encode(), "s").said[""]["isrc"] == ["GBAYE0601498"]
    words = of_sidecar(json.dumps(SIDECAR | {"isrc": "GBAYE060149X", "policy": "x"}).encode(), "s")
    assert words.said == {} and len(words.wrong) == 2


def test_of_a_manifest_each_row_counts_by_itself() -> None:
    text = "path,title,isrc\na.flac,One,GBAYE0601498\nb.flac,Two,wrong\n../c.flac,Three,\n,Four,\nsub/d.flac,Five,\n./a.flac,Again,\nx,y,,too much\n"
    words = of_manifest(text.encode(), "catalogue/box/manifest.csv", nothing)
    assert words.said == {"catalogue/box/sub/d.flac": {"title": "Five"}}
    told = "\n".join(words.wrong)
    for says in (
        "row 2 ",
        "row 3 ",
        "leads out of the manifest's folder",
        "has no path",
        "row 6 of",
        "as is row 1: neither counts",
        "more cells than the first line has names",
    ):
        assert says in told
    assert all("counts for nothing" in sentence for sentence in words.wrong)


@pytest.mark.parametrize("path", ["nul \0", "half \ud83d", "x" * 1_025, 7, None, " ", "..", "/etc/passwd"])
def test_a_path_that_no_object_can_have_is_told(path: object) -> None:
    words = of_manifest(json.dumps([{"path": path, "title": "x"}]).encode(), "manifest.json", nothing)
    assert not words.said and len(words.wrong) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{}", b"[" * 100_000, b"path\n"])
def test_a_manifest_without_a_row_is_told(data: bytes) -> None:
    for key in ("manifest.json", "manifest.csv"):
        if data != b"{}" or key.endswith("json"):
            words = of_manifest(data, key, nothing)
            assert not words.said and words.wrong


@given(st.binary(max_size=300), st.sampled_from(["manifest.json", "manifest.csv"]))
def test_whatever_a_manifest_holds_it_is_read_or_told(data: bytes, key: str) -> None:
    words = of_manifest(data, key, nothing)
    assert words.said or words.wrong


def test_tags_are_kept_as_postgresql_can_hold_them() -> None:
    assert of_tags({"artist": "One\0Two", "title": "x" * 5_000, "comment": "y", "isrc": ""}) == {"artist": "One;Two", "title": "x" * 999 + "…"}


@given(st.text(min_size=1, max_size=1_024).filter(lambda name: len(name.encode(errors="ignore")) <= 1_014 and "\0" not in name and name.isprintable()))
def test_each_rejected_object_has_a_notice_of_its_own_below_rejected(name: str) -> None:
    bucket = Bucket(s3=None, place="s3://b/catalogue/")  # type: ignore[arg-type]
    key = bucket.notice_key(f"catalogue/{name}")
    assert key.startswith("catalogue/_rejected/") and key.endswith(".json") and len(key.encode()) <= KEY_BYTES_MAX
    assert not {".", ".."} & set(key.split("/"))
    assert key != bucket.notice_key(f"catalogue/{name}x")
