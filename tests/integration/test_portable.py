"""A catalogue out of one database and into another, as one file: nothing is lost, nothing is done twice, and no file that is not whole gets in."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark import transfer
from earmark.cli import main
from earmark.errors import BadSettings, FingerprintMismatch, UnreadableCatalogue
from earmark.index import catalogue, integrity, portable, portable_file, portable_out, upkeep
from earmark.index.catalogue import Tracks
from earmark.index.portable_in import Arriving
from earmark.ingest import ingest
from earmark.library import Catalogue
from earmark.local.aws import AwsStandIn
from earmark.model import RATE_HZ, Peaks, Track
from earmark.postgres import Pool, statement, transaction
from earmark.track_profile import TrackProfile
from hearing_sounds import tune
from index_audio import write_wav
from portable_catalogues import (
    Piece,
    another,
    by_hand,
    carried,
    exported,
    fill,
    hashes,
    known,
    looked_up,
    numbers_of,
    of,
    recording,
    relation,
    rows_and_their_writers,
)
from stocked_bucket import PLACE, SIDECAR, Shelf, WatchedApart, shelf_of
from stocked_bucket import recording as flac

TITLE = "«Ωmega» ’; drop table track; -- \t\N{FACE WITH TEARS OF JOY}\N{RIGHT-TO-LEFT OVERRIDE}\n" + "x" * 300
RIGHTS = {"policy": "block", "territories": ("WW", "-US"), "valid_from": "2026-01-01T00:00:00Z", "valid_to": "2026-07-01T00:00:00Z"}
PROFILE = TrackProfile(loudness_lufs=-14.5, tempo_bpm=120.25, key="C#", mode="minor", not_computed={"speech_share": "why"}, version=1, features="librosa 0.11")
#: Everything that a catalogue can have.
PIECES = [
    Piece(track_id="one", seed=1, described={"title": TITLE, "artists": ("A", "B;C"), "isrc": ("GBAYE0601498",), **RIGHTS}, profile=PROFILE),
    Piece(track_id="long, of two parts", seed=2, duration_s=270, tidy=True),
    Piece(track_id="an issue of it", seed=3, beside="issue"),
    Piece(track_id="all in one", seed=4, beside="within"),
    Piece(track_id="of the same", seed=5, beside="alias"),
    Piece(track_id="with a passage", seed=6, beside="passage", tidy=True),
    Piece(track_id="not compared", seed=7, beside="uncompared"),
    Piece(track_id="\N{SNOWMAN} ' \" \\ ../%s {}", seed=8, beside="within"),
    Piece(track_id="last", seed=9),
]


@pytest.fixture
def other(postgres_server: str, _template: str) -> Iterator[Pool]:
    """Another database's."""
    with another(postgres_server) as pool:
        yield pool


@pytest.fixture(scope="module")
def nothing(postgres_server: str, _template: str) -> Iterator[Pool]:
    """An empty catalogue, for what is refused before anything is written."""
    with another(postgres_server) as pool:
        yield pool


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.parquet"


def arrive(pool: Pool, path: Path, **how: Any) -> dict[str, int]:
    return dict(transfer.arrive(pool, path, name=path.name, **how).counts)


# ---------------------------------------------------------------------------------------------- all of it


def test_everything_that_a_catalogue_knows_arrives_in_another_database(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES, stopped=40)
    left = exported(pool, file)
    assert (left.head.recordings, left.wrong) == (len(PIECES), ())
    assert arrive(other, file) == {"added": len(PIECES)}
    asked = hashes(PIECES)
    assert looked_up(other, asked) == looked_up(pool, asked)
    assert len(looked_up(pool, asked)) > 5_000
    assert known(other) == known(pool)
    assert list(integrity.check(other)) == []


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
_DESCRIPTIONS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("title", "album", "label", "rights_holder"), _TEXTS),
        **dict.fromkeys(("artists", "isrc", "iswc", "upc"), st.lists(_TEXTS, max_size=3).map(tuple)),
        "policy": st.sampled_from(["", "track", "allow", "warn", "block"]),
        "territories": st.sampled_from([(), ("DE",), ("WW", "-US")]),
    },
)
_PIECES = st.lists(
    st.builds(
        Piece,
        track_id=_IDS,
        seed=st.integers(0, 1 << 30),
        duration_s=st.sampled_from([0.2, 3, 5, 265]),
        described=_DESCRIPTIONS,
        beside=st.sampled_from(["nothing", "passage", "issue", "alias", "within", "uncompared"]),
        profile=st.none() | st.just(PROFILE),
        tidy=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda piece: piece.track_id,
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=_PIECES, stopped=st.sampled_from([0, 25]), in_runs=st.booleans(), groups_of=st.sampled_from([1, 2, 256]))
def test_any_catalogue_is_the_same_after_the_journey(
    postgres_server: str, _template: str, tmp_path: Path, pieces: Sequence[Piece], stopped: int, in_runs: bool, groups_of: int
) -> None:
    with another(postgres_server) as here, another(postgres_server) as there, pytest.MonkeyPatch.context() as patch:
        fill(here, pieces, stopped=stopped)
        patch.setattr(portable_out, "GROUP_RECORDINGS", groups_of)
        exported(here, tmp_path / "first")
        if in_runs:
            patch.setattr(catalogue, "BULK_POSTINGS", 2_000)
        assert sum(arrive(there, tmp_path / "first").values()) == len(pieces)
        asked = hashes(pieces)
        assert looked_up(there, asked) == looked_up(here, asked)
        assert known(there) == known(here)
        again = rows_and_their_writers(there)
        assert set(arrive(there, tmp_path / "first")) <= {"unchanged"}
        assert rows_and_their_writers(there) == again
        exported(there, tmp_path / "second")
        assert {
            row.about.track.track_id: (row.about.track, row.postings.hash.tobytes(), row.postings.frame.tobytes()) for row in carried(tmp_path / "second")
        } == {row.about.track.track_id: (row.about.track, row.postings.hash.tobytes(), row.postings.frame.tobytes()) for row in carried(tmp_path / "first")}


def test_every_field_of_a_recording_has_a_column() -> None:
    """Whoever adds one adds it here, and says whether an older Earmark may pass it over (`portable_file.FORMAT`)."""
    assert {f.name for f in fields(Track)} <= set(portable.SCHEMA.names)


def test_what_is_exported_is_what_was_there_when_it_began(pool: Pool, other: Pool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pool, PIECES[:6])
    asked, before, told = hashes(PIECES[:6]), known(pool), looked_up(pool, hashes(PIECES[:6]))
    changed = []

    def meanwhile(what: str, done: int, of: int) -> None:
        if not changed:
            changed.append(what)
            fill(pool, PIECES[8:])
            Tracks(pool=pool).remove("one")
            Tracks(pool=pool).add([recording("with a passage", 77)])
            upkeep.upkeep(pool, extent="everything")

    with file.open("wb") as out, file.with_suffix(".aside").open("wb+") as aside:
        transfer.leave(pool, out, aside=aside, progress=meanwhile)
    assert changed
    assert looked_up(pool, asked) != told
    arrive(other, file)
    assert looked_up(other, asked) == told
    assert known(other) == before


def test_a_portion_at_a_time_is_held_in_memory(pool: Pool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pool, PIECES)
    exported(pool, file)
    whole = {row.about.track.track_id: row.postings.hash.tobytes() for row in carried(file)}
    monkeypatch.setattr("earmark.index.by_recording.PORTION_POSTINGS", 700)
    monkeypatch.setattr("earmark.index.by_recording._SLICE_POSTINGS", 500)
    monkeypatch.setattr("earmark.index.by_recording._DOCS_AT_ONCE", 2)
    exported(pool, file)
    assert {row.about.track.track_id: row.postings.hash.tobytes() for row in carried(file)} == whole
    assert pq.ParquetFile(file).metadata.num_row_groups > 5


def test_what_is_damaged_is_left_out_and_told(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES[:6])
    with transaction(pool) as connection:
        connection.execute(
            "update doc set peaks = set_byte(peaks, 5, get_byte(peaks, 5) # 1) where track_no = (select track_no from track where track_id = 'one')"
        )
        connection.execute("delete from doc where track_no = (select track_no from track where track_id = 'an issue of it')")
    left = exported(pool, file)
    assert left.wrong == ("an issue of it, one: left out, because damaged in the catalogue; `earmark db check` says how",)
    # What named them does so no more.
    assert arrive(other, file) == {"added": 4}
    of_its_own = Tracks(pool=other).show("all in one")
    assert of_its_own is not None and of_its_own.alias_of is None and of_its_own.postings


def test_an_empty_catalogue_is_a_file_as_well(pool: Pool, other: Pool, file: Path) -> None:
    assert exported(pool, file).head.recordings == 0
    assert arrive(other, file) == {}
    assert known(other) == known(pool)


# ---------------------------------------------------------------------------------------------- again, and beside others


def test_an_import_that_was_broken_off_is_made_whole_by_another(pool: Pool, other: Pool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pool, PIECES)
    with monkeypatch.context() as patch:
        patch.setattr(portable_out, "GROUP_RECORDINGS", 2)
        exported(pool, file)
    for method, calls in (("put", 2), ("settle", 1), ("_mark", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(Arriving, method, _breaking(getattr(Arriving, method), calls))
            with pytest.raises(KeyboardInterrupt):
                arrive(other, file)
    assert 0 < len(numbers_of(other)) < len(PIECES)
    arrive(other, file)
    assert known(other) == known(pool)
    assert looked_up(other, hashes(PIECES)) == looked_up(pool, hashes(PIECES))


def _breaking(method: Callable[..., Any], calls: int) -> Callable[..., Any]:
    left = [calls]

    def call(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return method(*arguments)

    return call


def test_what_is_there_otherwise_refuses_all_is_kept_or_is_replaced(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES[:5])
    exported(pool, file)
    Tracks(pool=other).add([recording("one", 100), recording("an issue of it", 3, title="its own title")])
    before = rows_and_their_writers(other)
    with pytest.raises(BadSettings) as refused:
        arrive(other, file)
    assert str(refused.value) == (
        "nothing of catalogue.parquet was imported: the catalogue has one, an issue of it with another sound or description; "
        "--replace takes what the file has, --keep leaves those as they are"
    )
    assert rows_and_their_writers(other) == before
    assert arrive(other, file, conflicts="keep") == {"kept": 2, "added": 3}
    kept = Tracks(pool=other).show("an issue of it")
    assert kept is not None
    assert kept.track.title == "its own title"
    assert [shared.other for shared in kept.shares] == []  # it was never compared with what is there
    assert arrive(other, file, conflicts="keep") == {"kept": 2, "unchanged": 3}
    assert arrive(other, file, conflicts="replace") == {"replaced": 1, "updated": 1, "unchanged": 3}
    assert {name: rows for name, rows in known(other, but=("aliases", "aside")).items() if name != "recordings"} == {
        name: rows for name, rows in known(pool, but=("aliases", "aside")).items() if name != "recordings"
    }
    assert arrive(other, file) == {"unchanged": 5}


def test_what_is_an_object_of_the_bucket_is_not_replaced(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES[:1])
    exported(pool, file)
    Tracks(pool=other).add([recording("one", 100)])
    with transaction(other) as connection:
        connection.execute("insert into catalogue_object (bucket, key, kind, state, track_id) values ('b', 'catalogue/one.flac', 'audio', 'kept', 'one')")
    with pytest.raises(BadSettings, match="the recording one is s3://b/catalogue/one.flac, and what that is counts"):
        arrive(other, file, conflicts="replace")
    assert arrive(other, file, conflicts="keep") == {"kept": 1}


def test_recordings_that_are_objects_of_a_bucket_are_known_as_those_where_that_bucket_is_the_catalogue(
    aws: AwsStandIn, pool: Pool, other: Pool, file: Path, tmp_path: Path
) -> None:
    with closing(WatchedApart()) as apart, shelf_of(aws, pool, apart) as here:
        here.has("one.flac", flac(1)).has("one.json", SIDECAR).has("two.flac", flac(2))
        exported(pool, file)
        assert arrive(other, file, place="s3://another/place/") == {"added": 2}
        with statement(other) as connection:
            assert connection.execute("select count(*) from catalogue_object").fetchone() == (0,)
        assert arrive(other, file, place=PLACE) == {"unchanged": 2}
        there, apart.fingerprinted = Shelf(s3=here.s3, pool=other, apart=apart, folder=tmp_path), 0
        assert (there.compare().new, there.rejected) == (1, {})  # the sidecar, which is read again
        assert (there.tracks, apart.fingerprinted) == (here.tracks, 0)
        assert there.tracks["isrc:GBAYE0601498"].policy == "block"
        there.has("two.flac", flac(3)).lacks("one.flac")
        assert list(there.tracks) == ["key:two.flac"] and there.contents != here.contents


def test_one_that_was_added_otherwise_meanwhile_is_not_overwritten(pool: Pool, other: Pool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pool, PIECES[:1])
    exported(pool, file)
    begin = Arriving.begin

    def late(self: Arriving) -> None:
        begin(self)
        Tracks(pool=other).add([recording("one", 100)])

    monkeypatch.setattr(Arriving, "begin", late)
    with pytest.raises(BadSettings, match="the recording one was added to the catalogue otherwise while this was imported"):
        arrive(other, file)
    before = known(other)
    assert arrive(other, file, conflicts="keep") == {"kept": 1}
    assert known(other) == before


def test_beside_others_they_count_as_not_compared_with_them(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES[:3])
    exported(pool, file)
    Tracks(pool=other).add([recording("stranger", 100)])
    assert transfer.arrive(other, file, name="f").uncompared
    with statement(other) as connection:
        assert connection.execute("select count(*) from track where compared_no = track_no or aligned_no = track_no").fetchone() == (0,)
    shares = Tracks(pool=other).show("an issue of it")
    assert shares is not None and shares.shares  # with one another they were


def test_a_stop_list_is_that_of_the_catalogue_that_they_come_to(pool: Pool, other: Pool, file: Path) -> None:
    fill(pool, PIECES[:3], stopped=30)
    exported(pool, file)
    Tracks(pool=other).add([recording("stranger", 100)])
    arrive(other, file)
    assert known(other)["stopped"] == []
    asked = hashes(PIECES[:3])
    assert [row for row in looked_up(other, asked) if row[1] != "stranger"] == looked_up(pool, asked)


def test_whoever_listens_hears_what_was_imported(pool: Pool, other: Pool, dsn: str, file: Path, tmp_path: Path) -> None:
    sound = tune(5, 30)
    path = write_wav(tmp_path / "tune.wav", 0.5 * sound, rate_hz=RATE_HZ)
    with Catalogue.open(dsn) as here, Catalogue.open(other.conninfo) as there:  # type: ignore[arg-type]
        here.add(path, track_id="tune")
        monitor = there.monitor(rate_hz=RATE_HZ)
        assert monitor.push(sound[: 10 * RATE_HZ]) == []
        exported(pool, file)
        assert arrive(other, file) == {"added": 1}
        there._index.refresh()
        heard = monitor.push(sound[10 * RATE_HZ :]) + monitor.flush()
        assert {hit.track_id for hit in heard} == {"tune"}


# ---------------------------------------------------------------------------------------------- files that are none


@pytest.fixture(scope="module")
def whole(postgres_server: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "catalogue.parquet"
    with another(postgres_server) as pool, pytest.MonkeyPatch.context() as patch:
        fill(pool, [replace(piece, duration_s=min(piece.duration_s, 3)) for piece in PIECES], stopped=5)
        patch.setattr(portable_out, "GROUP_RECORDINGS", 3)
        exported(pool, path)
    return path.read_bytes()


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(UnreadableCatalogue) as refused:
        portable_file.Reading(path, name="the file")
    told = str(refused.value)
    assert told.startswith("the file ") and "\n" not in told
    return told


def test_a_file_that_was_cut_off_anywhere_is_refused(whole: bytes, file: Path) -> None:
    blocks = [offset for group in range(3) for offset in _offsets(whole, group)]
    assert len(blocks) > 60
    for end in sorted({1, 3, 4, 5, 11, 12, *blocks, *(block + 1 for block in blocks), *range(len(whole) - 400, len(whole)), *range(4, len(whole), 997)}):
        assert "is cut off: its end is missing" in refusal(file, whole[:end]) or end < 4
    assert refusal(file, b"") == "the file is empty: export it anew"
    portable_file.Reading(_written(file, whole), name="the file")


def _offsets(whole: bytes, group: int) -> list[int]:
    found = pq.ParquetFile(pa.BufferReader(whole)).metadata.row_group(group)
    return [found.column(n).data_page_offset for n in range(found.num_columns)]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_of_which_any_byte_is_another_is_refused(whole: bytes, file: Path) -> None:
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in [*range(0, footer, 499), *range(footer, len(whole), 23), *range(len(whole) - 120, len(whole))]:
        refusal(file, whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
    refusal(file, whole + b"\0")
    refusal(file, whole + whole)


def test_files_that_are_something_else_are_told_apart(whole: bytes, file: Path, tmp_path: Path) -> None:
    assert "is not a file of `earmark catalogue export`: that writes Parquet" in refusal(file, b"ID3 or what it is")
    pq.write_table(pa.table({"track_id": ["a"], "title": ["b"]}), tmp_path / "other")
    assert "is a Parquet file, and not one of `earmark catalogue export`" in refusal(file, (tmp_path / "other").read_bytes())
    pq.write_table(pq.read_table(_written(file, whole)), tmp_path / "saved again")
    refusal(file, (tmp_path / "saved again").read_bytes())


def test_another_format_is_told_from_damage(pool: Pool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(portable_file, "FORMAT", 2)
        exported(pool, file)
    assert refusal(file, file.read_bytes()) == (
        "the file is of format 2, and this Earmark reads format 1: import it with the Earmark that exported it, or export it with this one"
    )


@pytest.mark.parametrize(
    "said,told",
    [
        ({"fingerprint_version": 99}, "f holds fingerprints of version 99, and this Earmark makes version"),
        ({"hash_bits": 24}, "with hashes of 24 bits and parts of 2^13 frames, and this Earmark makes version 2 with 31 and 2^13: "),
        ({"frame_bits": 12}, "with hashes of 31 bits and parts of 2^12 frames"),
    ],
)
def test_another_fingerprint_is_refused_in_one_sentence(nothing: Pool, file: Path, said: dict[str, int], told: str) -> None:
    by_hand(file, [of(recording("a", 1))], **said)
    with pytest.raises(FingerprintMismatch, match=".*") as refused:
        transfer.arrive(nothing, file, name="f")
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert numbers_of(nothing) == {}


A, B = of(recording("a", 1)), of(recording("b", 2))


def _about(row: portable.Carried, **changed: Any) -> portable.Carried:
    return replace(row, about=replace(row.about, **changed))


def _described(row: portable.Carried, **changed: Any) -> portable.Carried:
    return _about(row, track=replace(row.about.track, **changed))


def _tied(**changed: Any) -> portable.Carried:
    found = relation(0)
    tie = portable.Tie(other="a", version=True, evidence_nats=1.0, own=found.own, others=found.others, overlap=found.overlap)  # type: ignore[attr-defined]
    return _about(B, ties=(replace(tie, **changed),))


_LATER = Peaks(eighth_frames=A.peaks.eighth_frames + np.int32(8), eighth_hz=A.peaks.eighth_hz, hashed=A.peaks.hashed, salience=A.peaks.salience)
_MORE = np.concatenate([A.postings.hash[:1]] * 5 + [A.postings.hash])
WRONG: list[tuple[list[portable.Carried], str]] = [
    ([replace(A, postings=B.postings)], "its recording a has postings that are not those of its constellation"),
    ([replace(A, postings=replace(A.postings, hash=np.sort(A.postings.hash ^ 1)))], "has postings that are not those of its constellation"),
    ([replace(A, postings=replace(A.postings, frame=A.postings.frame[::-1].copy()))], "has postings that are not those of its constellation"),
    ([replace(A, peaks=B.peaks)], "has a constellation that is not the one that was exported"),
    ([replace(A, peaks=_LATER)], "has a constellation that is not the one that was exported"),
    ([replace(A, postings=replace(A.postings, hash=A.postings.hash[::-1].copy()))], "has postings that are not in order"),
    ([replace(A, postings=replace(A.postings, hash=_MORE, frame=np.zeros(len(_MORE))))], "has postings that are not in order"),
    ([A, A], "its recording a is in it twice"),
    ([_described(A, track_id="")], "has an id of 0 characters"),
    ([_described(A, track_id="x" * 501)], "has an id of 501 characters"),
    ([_described(A, title="nul \0")], "has a title with a character that is no text"),
    ([_described(A, policy="kill")], "has rights that cannot be: its policy 'kill' is none"),
    ([_described(A, territories=("ZZ",))], "has rights that cannot be: its territories 'ZZ' is none"),
    ([_described(A, valid_from="soon")], "has rights that cannot be: its valid_from 'soon' is no date"),
    ([_described(A, valid_from="2026-01-01")], "has rights that are not written as they are kept"),
    ([_described(A, duration_s=float("nan"))], "lasts nan s"),
    ([_described(A, duration_s=1e9)], "lasts 1000000000.0 s"),
    ([_about(A, peaks_sha256=b"short")], "has a digest that is none"),
    ([_about(A, content_sha256=b"")], "has a digest that is none"),
    ([_about(A, alias_of="b"), B], "its recording a names b, which is not before it"),
    ([A, _about(B, all_in="a")], "its recording b is all in a, and no alias"),
    ([A, _about(B, alias_of="b")], "names b, which is not before it"),
    ([_about(A, profile="{")], "has a profile that cannot be read"),
    ([_about(A, profile="[]")], "has a profile that cannot be read"),
    ([_about(A, profile=json.dumps({"mode": "dorian"}))], "has a profile that cannot be read"),
    ([_about(A, profile=json.dumps({"tempo_bpm": "fast"}))], "has a profile that cannot be read"),
    ([A, _tied(other="z")], "names z, which is not before it"),
    ([A, _tied(evidence_nats=float("inf"))], "shares something with another one that cannot be"),
    ([A, _tied(own=(portable.Shared(begin_frame=9, end_frame=9, eighth_frames=()),))], "shares something with another one that cannot be"),
]


@pytest.mark.parametrize("rows,told", WRONG, ids=range(len(WRONG)))
def test_a_file_that_somebody_else_wrote_is_judged_recording_by_recording(nothing: Pool, file: Path, rows: list[portable.Carried], told: str) -> None:
    by_hand(file, rows)
    with pytest.raises(UnreadableCatalogue) as refused:
        transfer.arrive(nothing, file, name="the file")
    assert str(refused.value).startswith("the file is not imported: ") and told in str(refused.value) and "\n" not in str(refused.value)
    assert numbers_of(nothing) == {}


def test_columns_that_are_missing_of_another_type_or_null_are_told(
    pool: Pool, other: Pool, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files whose checksum is right, and whose columns are not."""
    usual = portable.SCHEMA

    def with_columns(schema: pa.Schema, table: pa.Table) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(portable_file, "SCHEMA", schema)
            patch.setattr(portable_file, "table", lambda rows: table)
            by_hand(file, [A])
        with pytest.raises(UnreadableCatalogue) as refused:
            transfer.arrive(other, file, name="the file")
        return str(refused.value)

    made = portable.table([A])
    assert "it has no column posting_hash" in with_columns(usual.remove(usual.get_field_index("posting_hash")), made.drop_columns(["posting_hash"]))
    place = usual.get_field_index("posting_frame")
    other_type = pa.field("posting_frame", pa.string())
    assert "its column posting_frame holds string" in with_columns(usual.set(place, other_type), made.set_column(place, other_type, pa.array(["x"])))
    maybe = pa.field("title", pa.string())
    place = usual.get_field_index("title")
    assert "it has nulls where something has to be" in with_columns(usual.set(place, maybe), made.set_column(place, maybe, pa.array([None], pa.string())))
    uneven = usual.field("peak_eighth_hz")
    place = usual.get_field_index("peak_eighth_hz")
    assert "it has more of one column than of another" in with_columns(usual, made.set_column(place, uneven, pa.array([[1, 2]], uneven.type)))
    assert numbers_of(other) == {}
    more = made.append_column("what_is_to_come", pa.array([1]))
    with monkeypatch.context() as patch:
        patch.setattr(portable_file, "SCHEMA", more.schema)
        patch.setattr(portable_file, "table", lambda rows: more)
        by_hand(file, [A])
    assert arrive(other, file) == {"added": 1}


# ---------------------------------------------------------------------------------------------- as a user does it


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, "".join(line for line in said.err.splitlines(keepends=True) if line.startswith("earmark: "))

    return call


def test_music_is_recognised_as_before_by_who_has_only_the_file(
    dsn: str, pool: Pool, other: Pool, tmp_path: Path, file: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    for n in range(3):
        write_wav(tmp_path / f"{n}.wav", 0.5 * tune(n, 25), rate_hz=RATE_HZ)
    again = 0.5 * np.concatenate([tune(1, 25)[6 * RATE_HZ : 20 * RATE_HZ], tune(50, 8), tune(2, 25)[3 * RATE_HZ :]])
    write_wav(tmp_path / "clip.wav", again, rate_hz=RATE_HZ)
    there = str(other.conninfo)
    assert [result.outcome for result in ingest([tmp_path / f"{n}.wav" for n in range(3)], pool=pool, jobs=1)] == ["added"] * 3
    code, out, _ = run("catalogue", "export", file, "--catalogue", dsn)
    assert code == 0
    assert out.startswith("3 recordings (1:15), ") and out.endswith(f": {file}\n")
    assert run("catalogue", "import", file, "--catalogue", there) == (0, f"3 recordings (1:15) of {file}: 3 added\n", "")
    assert run("catalogue", "import", file, "--catalogue", there) == (0, f"3 recordings (1:15) of {file}: 3 unchanged\n", "")
    here, moved = (run("identify", "--json", tmp_path / "clip.wav", "--catalogue", catalogue) for catalogue in (dsn, there))
    assert here == moved
    assert len(json.loads(here[1])["matches"]) == 2
    # Other programs read what it says.
    assert set(pq.read_table(file, columns=["title"]).column("title").to_pylist()) == {"0", "1", "2"}


def test_through_a_pipe_and_through_s3(dsn: str, pool: Pool, other: Pool, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    fill(pool, PIECES[:3])
    earmark = [sys.executable, "-m", "earmark.cli", "catalogue"]
    out = subprocess.Popen([*earmark, "export", "-", "--catalogue", dsn], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done = subprocess.run(
        [*earmark, "import", "-", "--catalogue", str(other.conninfo)], stdin=out.stdout, capture_output=True, text=True, timeout=60, check=False
    )
    _, told = out.communicate()
    assert (done.returncode, done.stdout) == (0, "3 recordings (4:46) of standard input: 3 added\n"), done.stderr
    assert told.decode().endswith(": standard output\n")
    aws.client("s3").create_bucket(Bucket="moves")
    monkeypatch.setenv("EARMARK_AWS__ENDPOINT_URL", aws.endpoint_url)
    code, said, _ = run("catalogue", "export", "s3://moves/to/there.parquet", "--catalogue", dsn)
    assert (code, said.endswith(": s3://moves/to/there.parquet\n")) == (0, True)
    assert run("catalogue", "import", "s3://moves/to/there.parquet", "--catalogue", str(other.conninfo))[1].endswith(": 3 unchanged\n")
    code, _, err = run("catalogue", "import", "s3://moves/none", "--catalogue", dsn)
    assert code == 1 and "s3:GetObject" in err and err.count("\n") == 1
    code, _, err = run("catalogue", "export", "s3://nowhere/x", "--catalogue", dsn)
    assert code == 1 and "s3://nowhere/x" in err and err.count("\n") == 1


def test_a_named_pipe_or_a_link_stays_what_it_is(dsn: str, pool: Pool, tmp_path: Path, file: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    fill(pool, PIECES[:1])
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(file)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        assert run("catalogue", "export", pipe, "--catalogue", dsn) == (0, f"1 recording (0:08), 1,068 postings: {pipe}\n", "")
        (tmp_path / "read").write_bytes(read.result(10))
    assert run("catalogue", "export", link, "--catalogue", dsn)[0] == 0
    assert pipe.is_fifo() and link.is_symlink()
    assert run("catalogue", "import", tmp_path / "read", "--catalogue", dsn)[1].endswith(": 1 unchanged\n")
    assert run("catalogue", "import", link, "--catalogue", dsn)[1].endswith(": 1 unchanged\n")


def test_wrong_invocations_are_told_in_a_sentence_each(dsn: str, pool: Pool, tmp_path: Path, file: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    fill(pool, PIECES[:1])
    (tmp_path / "audio").mkdir()
    (tmp_path / "text").write_text("not Parquet")
    for arguments, code, told in [
        (("import", tmp_path / "none.parquet"), 2, f"there is no {tmp_path / 'none.parquet'}"),
        (("import", tmp_path), 2, f"{tmp_path} is not a file"),
        (("import", tmp_path / "text"), 1, f"{tmp_path / 'text'} is not a file of `earmark catalogue export`"),
        (("import", "s3://bucket-alone"), 2, "s3://bucket-alone names no object"),
        (("export", tmp_path), 2, f"{tmp_path} is a folder"),
        (("export", tmp_path / "no" / "x"), 2, f"{tmp_path / 'no' / 'x'} cannot be written: no such file or directory"),
        (("export", file, "--format", "csv"), 2, "--format is of the list of descriptions"),
    ]:
        found = run("catalogue", *arguments, "--catalogue", dsn)
        assert found[0] == code, found
        assert told in found[2] and found[2].count("\n") == 1
    assert run("catalogue", "import", file, "--catalogue", tmp_path / "audio")[2].startswith(f"earmark: the catalogue {tmp_path / 'audio'} is a folder")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert run("catalogue", "export", file, "--catalogue", dsn)[0] == 0
    Tracks(pool=pool).add([recording("one", 100)])
    code, _, err = run("catalogue", "import", file, "--catalogue", dsn)
    assert code == 2 and "--replace takes what the file has, --keep leaves those as they are" in err
    assert run("catalogue", "import", file, "--keep", "--catalogue", dsn)[1].endswith(": 1 kept\n")
    assert run("catalogue", "import", file, "--replace", "--catalogue", dsn)[1].endswith(": 1 replaced\n")
