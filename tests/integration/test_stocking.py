"""A bucket is the catalogue: its objects through real events, rows, jobs and child processes into a real database."""

import hashlib
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_media import audio_file
from control_rows import rows, run
from earmark.errors import AwsUnavailable
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.ingest import ingest
from earmark.local.aws import AwsStandIn
from earmark.model import Fetch, Passage
from earmark.postgres import Pool
from earmark.stocking import bucket
from earmark.stocking.reconcile import Comparison
from earmark.stocking.rows import CLAIM, Overtaken
from stocked_bucket import BUCKET, SIDECAR, Shelf, WatchedApart, deadly, recording, shelf_of

A, B, C = (recording(seed) for seed in (1, 2, 3))


# ------------------------------------------------------------------------------------------------ objects


def test_an_object_is_a_recording_once_however_often_it_is_told(shelf: Shelf) -> None:
    arrived = shelf.put("albums/one.flac", A)
    assert shelf.tell(arrived, arrived) == ["stock", "repeat"]
    shelf.settle()
    assert shelf.tell(arrived) == ["repeat"]
    shelf.settle()
    assert list(shelf.tracks) == ["key:albums/one.flac"]
    assert shelf.tracks["key:albums/one.flac"].title == "one"
    assert (shelf.apart.fingerprinted, shelf.meter.outcomes) == (1, {"added": 1})


def test_a_replaced_object_keeps_its_id_and_changes_its_sound(shelf: Shelf) -> None:
    before = shelf.has("one.flac", A).contents
    after = shelf.has("one.flac", B).contents
    assert before.keys() == after.keys() and before != after
    assert shelf.meter.outcomes == {"added": 1, "replaced": 1}


def test_the_same_bytes_again_change_nothing(shelf: Shelf) -> None:
    shelf.has("one.flac", A)
    changed_at = rows(shelf.pool, "select changed_at from track")
    shelf.has("one.flac", A)
    assert rows(shelf.pool, "select changed_at from track") == changed_at
    assert (shelf.apart.fingerprinted, shelf.meter.outcomes) == (1, {"added": 1, "unchanged": 1})


def test_a_deleted_object_is_no_recording_any_more(shelf: Shelf) -> None:
    shelf.has("one.flac", A).lacks("one.flac")
    assert shelf.tracks == {} and shelf.meter.outcomes == {"added": 1, "removed": 1}


def test_a_deletion_beats_a_creation_that_is_told_late(shelf: Shelf) -> None:
    created = shelf.put("one.flac", A)
    removed = shelf.delete("one.flac")
    assert shelf.tell(removed, created) == ["stock", "repeat"]
    assert shelf.settle().tracks == {} and shelf.apart.fingerprinted == 0


def test_an_object_that_is_deleted_while_it_is_fingerprinted_is_never_added(shelf: Shelf) -> None:
    shelf.tell(shelf.put("one.flac", A))
    shelf.apart.meanwhile = lambda: shelf.tell(shelf.delete("one.flac"))
    shelf.settle()
    assert shelf.tracks == {} and shelf.meter.outcomes == {"overtaken": 1, "unchanged": 1}


def test_an_object_that_is_replaced_while_it_is_fingerprinted_ends_as_what_it_is(shelf: Shelf) -> None:
    shelf.tell(shelf.put("one.flac", A))
    shelf.apart.meanwhile = lambda: shelf.tell(shelf.put("one.flac", B))
    contents = shelf.settle().contents
    assert contents == shelf.has("two.flac", C).contents | {"key:one.flac": contents["key:one.flac"]} or len(contents) == 1
    assert shelf.meter.outcomes["overtaken"] == 1
    (etag,) = {row["etag"] for row in rows(shelf.pool, "select etag from catalogue_object where key = 'catalogue/one.flac'")}
    assert etag == shelf.s3.head_object(Bucket=BUCKET, Key="catalogue/one.flac")["ETag"].strip('"')


def test_what_a_dead_worker_had_taken_is_taken_up_again(shelf: Shelf) -> None:
    shelf.tell(shelf.put("one.flac", A))
    dead = shelf.objects.claim()
    assert dead and shelf.settle().tracks == {}  # it may live still
    shelf.pass_time(61)
    assert list(shelf.settle().tracks) == ["key:one.flac"]
    with pytest.raises(Overtaken):
        shelf.objects.renew(dead)


def test_a_worker_that_died_behind_its_transaction_left_nothing_half(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.tell(shelf.put("one.flac", A))
    monkeypatch.setattr(shelf.taking, "_notice", lambda *_: pytest.exit)  # as far as that it comes
    claim = shelf.objects.claim()
    assert claim
    shelf.taking._find(claim, lambda: None)
    monkeypatch.undo()
    assert list(shelf.tracks) == ["key:one.flac"]
    shelf.pass_time(61)
    shelf.settle()
    assert (shelf.apart.fingerprinted, shelf.meter.outcomes) == (1, {"unchanged": 1})


def test_what_is_under_way_when_a_worker_ends_is_put_back_and_counts_as_no_try(shelf: Shelf) -> None:
    shelf.tell(shelf.put("one.flac", A))
    shelf.stock._stop.set()
    claim = shelf.objects.claim()
    assert claim
    shelf.stock.take_up(shelf.objects, shelf.taking, claim)
    assert rows(shelf.pool, "select attempts, worker, due_at <= now() as due from catalogue_object") == [{"attempts": 0, "worker": None, "due": True}]
    shelf.stock._stop.clear()
    assert list(shelf.settle().tracks) == ["key:one.flac"]


def test_two_workers_take_up_each_object_once(shelf: Shelf, tmp_path: Path) -> None:
    with closing(WatchedApart()) as apart:
        other = Shelf(s3=shelf.s3, pool=shelf.pool, apart=apart, folder=tmp_path, worker="other")
        for number in range(8):
            shelf.tell(shelf.put(f"{number}.flac", recording(30 + number % 7)))  # the first and the last are the same
        threads = [threading.Thread(target=one.settle) for one in (shelf, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one in (shelf, other):
        one.pass_time(1)
        one.settle()
    assert len(shelf.tracks) == 7 and len(shelf.rejected) == 1
    assert shelf.meter.outcomes["added"] + other.meter.outcomes["added"] == 7
    assert shelf.apart.fingerprinted + apart.fingerprinted == 8


_KEYS = ("a.flac", "b.flac", "below/c.flac")
_STEPS = st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from([0, 1, 2, None])), min_size=1, max_size=7)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, data=st.data())
def test_whatever_order_events_come_in_and_how_often_the_catalogue_is_what_the_bucket_is(shelf: Shelf, steps: list[tuple[str, int | None]], data: Any) -> None:
    """Each key has sounds of its own, so that none is another's duplicate."""
    run(shelf.pool, "delete from catalogue_object")
    for track_id in shelf.tracks:
        Tracks(pool=shelf.pool).remove(track_id)
    events, truth = [], dict.fromkeys(_KEYS)
    for key, sound in steps:
        truth[key] = sound
        seed = 10 * (1 + _KEYS.index(key)) + (sound or 0)
        events.append(shelf.delete(key) if sound is None else shelf.put(key, recording(seed, 3.2)))
    told = data.draw(st.permutations(events * data.draw(st.integers(1, 2))))
    for event in told:
        shelf.tell(event)
        if data.draw(st.booleans()):
            shelf.settle()
    shelf.settle()
    for key in _KEYS:  # the next example begins with an empty bucket
        shelf.s3.delete_object(Bucket=BUCKET, Key=f"catalogue/{key}")
    there = {f"key:{key}" for key, sound in truth.items() if sound is not None}
    assert set(shelf.tracks) == there
    seeds = {f"key:{key}": 10 * (1 + _KEYS.index(key)) + sound for key, sound in truth.items() if sound is not None}
    assert shelf.contents == {track_id: hashlib.sha256(recording(seed, 3.2)).hexdigest() for track_id, seed in seeds.items()}


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize("sidecar_first", [False, True])
@pytest.mark.parametrize("name", ["one.flac.json", "one.json"])
def test_a_sidecar_describes_its_recording_whichever_comes_first(shelf: Shelf, name: str, sidecar_first: bool) -> None:
    for object_ in [(name, SIDECAR), ("one.flac", A)][:: 1 if sidecar_first else -1]:
        shelf.has(*object_)
    (track,) = shelf.tracks.values()
    assert (track.track_id, track.title, track.policy, track.territories) == ("isrc:GBAYE0601498", "Blue Sky Morning", "block", ("WW", "-US"))
    assert (track.valid_from, track.valid_to) == ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert shelf.apart.fingerprinted == 1


def test_a_sidecar_that_changes_or_goes_describes_anew_and_nothing_is_fingerprinted_again(shelf: Shelf) -> None:
    shelf.has("one.flac", recording(1, 4.0, title="Tagged")).has("one.flac.json", {"title": "Said", "label": "L"}).has("one.flac.json", {"title": "Said again"})
    assert [(track.title, track.label) for track in shelf.tracks.values()] == [("Said again", "")]
    shelf.lacks("one.flac.json")
    assert [track.title for track in shelf.tracks.values()] == ["Tagged"]
    assert shelf.apart.fingerprinted == 1


def test_a_recording_that_gets_another_id_is_heard_under_it(shelf: Shelf) -> None:
    index = Index(pool=shelf.pool, follow_every_s=0).open()

    def heard_as() -> list[str]:
        (track_no,) = (row["track_no"] for row in rows(shelf.pool, "select track_no from track"))
        found = index.answer(Fetch(passages=(Passage(track_no=track_no, begin_frame=0, end_frame=100),)))
        assert isinstance(found, list)
        return [reference.track_id for reference in found]

    shelf.has("one.flac", A)
    assert heard_as() == ["key:one.flac"]
    shelf.has("one.flac.json", {"isrc": "GBAYE0601498"})
    assert heard_as() == ["isrc:GBAYE0601498"]
    assert shelf.apart.fingerprinted == 1


def test_a_sidecar_that_is_wrong_counts_for_nothing_until_it_is_mended(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("one.flac.json", SIDECAR | {"isrc": "GBAYE060149"})
    assert list(shelf.tracks) == ["key:one.flac"]
    (sentence,) = shelf.rejected["one.flac.json"]
    assert "counts for nothing: isrc 'GBAYE060149' has 11 characters and must have 12" in sentence
    assert shelf.notices["one.flac.json.json"]["reasons"] == [sentence]
    shelf.has("one.flac.json", SIDECAR)
    assert list(shelf.tracks) == ["isrc:GBAYE0601498"] and shelf.rejected == shelf.notices == {}


@pytest.mark.parametrize("manifest_first", [False, True])
def test_a_manifest_describes_the_files_of_its_folder(shelf: Shelf, manifest_first: bool) -> None:
    manifest = ("box/manifest.csv", b"path,title,artists,isrc\ndisc/one.flac,One,A;B,GBAYE0601498\ntwo.flac,Two,,\nabsent.flac,Three,,\n")
    files = [("box/disc/one.flac", A), ("box/two.flac", B), ("two.flac", C)]
    for object_ in [manifest, *files] if manifest_first else [*files, manifest]:
        shelf.has(*object_)
    assert {track_id: track.title for track_id, track in shelf.tracks.items()} == {"isrc:GBAYE0601498": "One", "key:box/two.flac": "Two", "key:two.flac": "two"}
    assert shelf.tracks["isrc:GBAYE0601498"].artists == ("A", "B")
    shelf.has("box/manifest.csv", b"path,title\ntwo.flac,Second\n")
    assert {track.title for track in shelf.tracks.values()} == {"one", "Second", "two"}
    shelf.lacks("box/manifest.csv")
    assert {track.title for track in shelf.tracks.values()} == {"one", "two"}
    assert shelf.apart.fingerprinted == 3


def test_two_rows_for_one_file_count_for_nothing_and_the_others_do(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("two.flac", B)
    shelf.has("manifest.json", [{"path": "one.flac", "title": "X"}, {"path": "two.flac", "title": "Two"}, {"path": "./one.flac", "title": "Y"}])
    assert {track.title for track in shelf.tracks.values()} == {"one", "Two"}
    assert shelf.rejected["manifest.json"] == [
        "row 3 of catalogue/manifest.json counts for nothing: it is about './one.flac', as is row 1: neither counts, leave one of them out"
    ]
    assert "manifest.json.json" in shelf.notices


def test_the_nearest_manifest_counts_and_a_sidecar_before_it(shelf: Shelf) -> None:
    shelf.has("manifest.csv", b"path,title,label,album\nbox/one.flac,Far,Far,Far\n").has("box/manifest.csv", b"path,title,label\none.flac,Near,Near\n")
    shelf.has("box/one.flac", A).has("box/one.flac.json", {"title": "Nearest"})
    (track,) = shelf.tracks.values()
    assert (track.title, track.label, track.album) == ("Nearest", "Near", "")


# ------------------------------------------------------------------------------------------------ one place, two claims


def test_of_two_objects_with_one_isrc_the_first_is_the_recording_and_the_other_takes_its_place_when_it_goes(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("one.json", {"isrc": "GBAYE0601498"}).has("two.flac", B).has("two.json", {"isrc": "GBAYE0601498"})
    first = shelf.contents
    assert list(first) == ["isrc:GBAYE0601498"]
    (sentence,) = shelf.rejected["two.flac"]
    assert sentence.startswith("catalogue/two.flac is not added: the recording isrc:GBAYE0601498 is s3://earmark-media/catalogue/one.flac already")
    shelf.lacks("one.flac")
    assert list(shelf.contents) == ["isrc:GBAYE0601498"] and shelf.contents != first and shelf.rejected == shelf.notices == {}


def test_an_id_that_is_given_settles_it(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("copy.flac", A)
    assert "holds the same audio as the recording key:one.flac" in shelf.rejected["copy.flac"][0]
    shelf.has("copy.flac.json", {"track_id": "mine"})
    assert set(shelf.tracks) == {"key:one.flac", "mine"} and shelf.rejected == {}


def test_an_object_that_is_moved_is_one_recording_all_the_while(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("moved.flac", A)
    assert list(shelf.tracks) == ["key:one.flac"]
    shelf.lacks("one.flac")
    assert list(shelf.tracks) == ["key:moved.flac"]


def test_recordings_that_were_added_otherwise_are_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "one.flac").write_bytes(recording(1, 4.0, isrc="GBAYE0601498"))
    (result,) = ingest([tmp_path], pool=shelf.pool, jobs=1)
    assert result.track_id == "isrc:GBAYE0601498"
    shelf.has("two.flac", recording(2, 4.0, isrc="GBAYE0601498"))
    assert "did not come from this bucket; `earmark catalogue remove isrc:GBAYE0601498` makes room for it" in shelf.rejected["two.flac"][0]
    shelf.lacks("two.flac").compare()
    assert list(shelf.tracks) == ["isrc:GBAYE0601498"]
    shelf.has("two.flac", recording(2, 4.0, isrc="GBAYE0601498"))
    Tracks(pool=shelf.pool).remove("isrc:GBAYE0601498")  # at once, not only when they are compared
    assert list(shelf.settle().tracks) == ["isrc:GBAYE0601498"] and shelf.rejected == {}


# ------------------------------------------------------------------------------------------------ rejected


def _drm() -> bytes:
    return audio_file(container="mp4", codec="aac").replace(b"mp4a", b"drms")


BAD = {
    "zip.mp3": (b"PK\x03\x04" + bytes(400), "is not audio"),
    "drm.m4a": (_drm, "is encrypted (DRM)"),
    "video.mp4": (lambda: audio_file(container="mp4", codec="aac", video=True, audio=False), "has video but no audio"),
    "empty.flac": (b"", "is empty"),
    "page.mp3": (b"<html>404 Not Found</html>", "is not audio"),
    "list.mp3": (b"#EXTM3U\n/etc/passwd\n", "is a playlist"),
    "short.flac": (lambda: recording(7, 1.0), "1.0 s long, and 3 s are the least"),
    "cut.flac": (lambda: recording(8, 20.0)[:60_000], "is truncated"),
    "long.flac": (lambda: recording(9, 70.0), "is longer than 1 minutes; cut it into recordings"),
    "day.flac": (lambda: recording(9, 150.0), "by its header it lasts 2:30, and 1:00 is the most; cut it into recordings"),
    "large.flac": (lambda: bytes(4_000_001), "has 4,000,001 bytes and may have 4,000,000 (catalogue.object_bytes_max)"),
}


def test_what_is_no_recording_is_rejected_with_its_reason_until_it_is_mended(aws: AwsStandIn, pool: Pool, apart: WatchedApart) -> None:
    with shelf_of(aws, pool, apart, object_s_max=60, object_bytes_max=4_000_000) as shelf:
        for name, (made, says) in BAD.items():
            shelf.has(name, made() if callable(made) else made)
            (sentence,) = shelf.rejected[name]
            assert sentence.startswith(f"catalogue/{name} ") and says in sentence
            notice = shelf.notices[f"{name}.json"]
            assert (notice["key"], notice["reasons"], notice["schema_version"]) == (f"catalogue/{name}", [sentence], 1)
            assert notice["etag"] and notice["rejected_at"].endswith("Z")
        assert shelf.tracks == {} and len(shelf.rejected) == len(shelf.notices) == len(BAD)
        for number, name in enumerate(BAD):
            shelf.has(name, recording(50 + number))
        assert set(shelf.tracks) == {f"key:{name}" for name in BAD} and shelf.rejected == shelf.notices == {}


def test_a_recording_that_is_replaced_by_none_leaves_the_catalogue(shelf: Shelf) -> None:
    shelf.has("one.flac", A).has("one.flac", b"no audio")
    assert shelf.tracks == {} and "one.flac" in shelf.rejected
    shelf.lacks("one.flac")
    assert shelf.rejected == shelf.notices == {}


def test_what_is_rejected_is_not_looked_at_again_until_it_is_another(shelf: Shelf) -> None:
    shelf.has("one.flac", b"no audio").has("one.flac", b"no audio")
    assert (shelf.apart.fingerprinted, shelf.meter.outcomes) == (1, {"rejected": 1, "unchanged": 1})


def test_a_file_that_kills_the_process_that_decodes_it_costs_that_file(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.apart, "_ask", deadly(shelf.apart))
    shelf.has("one.flac", A)
    assert shelf.rejected == {"one.flac": ["catalogue/one.flac cannot be fingerprinted: the process that decoded it died"]}
    monkeypatch.undo()
    assert list(shelf.has("two.flac", B).tracks) == ["key:two.flac"]


NAMES = (
    "../up.flac",
    "a/../../b.flac",
    "./here.flac",
    'quote\'s "two".flac',
    "🎵 née.flac",
    "a+b%20&c=d?e#f.flac",
    "x" * 1_009 + ".flac",
    "'; drop table track; --",
)


def test_whatever_an_object_is_called_it_is_a_recording_and_its_rejection_has_a_place(shelf: Shelf) -> None:
    for number, name in enumerate(NAMES):
        shelf.has(name, recording(70 + number, 3.2))
    assert set(shelf.tracks) == {f"key:{name}" for name in NAMES}
    for name in NAMES:
        shelf.has(name, b"no audio")
    assert shelf.tracks == {} and {notice["key"] for notice in shelf.notices.values()} == {f"catalogue/{name}" for name in NAMES}
    for name in NAMES:
        shelf.lacks(name)
    assert shelf.notices == {}


def test_what_lies_below_a_folder_with_an_underscore_is_left_alone(shelf: Shelf) -> None:
    assert shelf.tell(shelf.put("_rejected/one.flac.json", {}), shelf.put("x/_drafts/one.flac", A), shelf.put("cover.jpg", b"x")) == ["foreign"] * 3
    assert shelf.compare().objects == 0 and shelf.tracks == {}


# ------------------------------------------------------------------------------------------------ what fails for now


def test_what_fails_for_now_is_tried_again_ever_later_and_then_given_up_in_sight_of_everybody(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.settings = shelf.taking._settings = shelf.settings.model_copy(update={"attempts_max": 3})
    whole = shelf.s3.get_object

    def away(**_: Any) -> Any:
        raise AwsUnavailable("s3:GetObject of s3://b/k failed for now: SlowDown")

    monkeypatch.setattr(shelf.taking._bucket, "_s3", type("Away", (), {"get_object": staticmethod(away), "put_object": shelf.s3.put_object})())
    shelf.tell(shelf.put("one.flac", A))
    waits = []
    for _ in range(4):
        shelf.settle()
        waits += [row["s"] for row in rows(shelf.pool, "select extract(epoch from due_at - now())::float s from catalogue_object where due_at is not null")]
        shelf.pass_time(1_000)
    assert waits == sorted(waits) and len(waits) == 3
    assert shelf.rejected["one.flac"] == ["catalogue/one.flac is given up for now: it was tried 3 times: s3:GetObject of s3://b/k failed for now: SlowDown"]
    monkeypatch.undo()
    assert whole is not None
    assert shelf.compare().changed == 1  # the nightly comparison tries it again
    assert list(shelf.tracks) == ["key:one.flac"]


def test_a_notice_that_cannot_be_written_is_made_up_for(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> None:
        raise AwsUnavailable("s3:PutObject failed for now")

    monkeypatch.setattr(shelf.taking._bucket, "put_notice", denied)
    shelf.has("one.flac", b"no audio")
    assert "one.flac" in shelf.rejected and shelf.notices == {}
    monkeypatch.undo()
    shelf.compare()
    assert "one.flac.json" in shelf.notices


# ------------------------------------------------------------------------------------------------ compared


def test_events_that_were_lost_are_made_up_for_both_ways(shelf: Shelf) -> None:
    for number in range(6):
        shelf.has(f"{number}.flac", recording(20 + number))
    shelf.put("new.flac", A)
    shelf.put("0.flac", B)
    shelf.delete("1.flac")
    told: list[tuple[str, str]] = []
    dry = shelf.compare(dry_run=True, tell=lambda what, key: told.append((what, key)))
    assert sorted(told) == [("changed", "catalogue/0.flac"), ("gone", "catalogue/1.flac"), ("new", "catalogue/new.flac")]
    assert "key:1.flac" in shelf.tracks and (dry.new, dry.changed, dry.gone) == (1, 1, 1)
    found = shelf.compare()
    assert (found.objects, found.new, found.changed, found.gone, found.refused) == (6, 1, 1, 1, "")
    assert set(shelf.tracks) == {"key:new.flac", *(f"key:{number}.flac" for number in (0, 2, 3, 4, 5))}
    again = shelf.compare()
    assert (again.new, again.changed, again.gone) == (0, 0, 0)


def test_a_bucket_that_looks_emptied_empties_no_catalogue(shelf: Shelf) -> None:
    for number in range(6):
        shelf.has(f"{number}.flac", recording(20 + number))
    for number in range(3):
        shelf.delete(f"{number}.flac")
    found = shelf.compare()
    assert "its listing lacks 3 of the 6 objects that it had" in found.refused and "EARMARK_CATALOGUE__REMOVE_SHARE_MAX=1" in found.refused
    assert len(shelf.tracks) == 6 and shelf.meter.compared["refused"] == 1
    for number in range(3, 6):
        shelf.delete(f"{number}.flac")
    assert "its listing is empty" in shelf.compare().refused and len(shelf.tracks) == 6
    shelf.settings = shelf.settings.model_copy(update={"remove_share_max": 1.0})
    assert shelf.compare().refused == "" and shelf.tracks == {}


def test_another_place_is_another_catalogue(shelf: Shelf, tmp_path: Path) -> None:
    shelf.has("one.flac", A)
    shelf.s3.put_object(Bucket=BUCKET, Key="elsewhere/two.flac", Body=B)
    moved = Shelf(s3=shelf.s3, pool=shelf.pool, apart=shelf.apart, folder=tmp_path, place=f"s3://{BUCKET}/elsewhere/", remove_share_max=1)
    moved.compare()
    assert list(moved.tracks) == ["key:two.flac"]


def test_a_recording_that_somebody_took_out_comes_back_with_the_comparison(shelf: Shelf) -> None:
    shelf.has("one.flac", A)
    Tracks(pool=shelf.pool).remove("key:one.flac")
    shelf.compare()
    assert list(shelf.tracks) == ["key:one.flac"]


def test_a_recording_that_somebody_wrote_over_is_what_the_bucket_has_again(shelf: Shelf, tmp_path: Path) -> None:
    contents = shelf.has("one.flac", recording(1, 4.0, isrc="GBAYE0601498")).contents
    (tmp_path / "it.flac").write_bytes(recording(2, 4.0, isrc="GBAYE0601498"))
    list(ingest([tmp_path], pool=shelf.pool, jobs=1))
    assert shelf.contents != contents
    shelf.compare()
    assert shelf.contents == contents


def test_the_next_object_is_found_by_index_however_many_wait(shelf: Shelf) -> None:
    run(
        shelf.pool,
        """insert into catalogue_object (bucket, key, kind)
           select 'b', 'catalogue/' || n || '.flac', case when mod(n, 50) = 0 then 'sidecar' else 'audio' end from generate_series(1, 20000) n""",
    )
    run(shelf.pool, "analyze catalogue_object")
    plan = "\n".join(row["QUERY PLAN"] for row in rows(shelf.pool, f"explain {CLAIM.replace('%(worker)s', repr('w')).replace('%(lease_s)s', '1')}"))
    assert "catalogue_object_due" in plan and "Sort" not in plan and "Seq Scan" not in plan
    claim = shelf.objects.claim()
    assert claim and claim.kind == "sidecar"


def test_what_was_rejected_is_tried_again_when_asked_to(aws: AwsStandIn, pool: Pool, apart: WatchedApart) -> None:
    with shelf_of(aws, pool, apart, object_s_max=5) as shelf:
        shelf.has("one.flac", recording(9, 8.0))
        assert "one.flac" in shelf.rejected
        shelf.taking._settings = shelf.settings.model_copy(update={"object_s_max": 60})
        shelf.compare()
        assert "one.flac" in shelf.rejected
        shelf.compare(retry=True)
        assert list(shelf.tracks) == ["key:one.flac"] and shelf.rejected == {}


def test_pages_of_a_listing_are_compared_one_after_another(shelf: Shelf) -> None:
    names = [f"{number:04d}.flac" for number in range(23)]
    for name in names:
        shelf.put(name, b"x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "PAGE_MAX", 5)
        assert shelf.compare(dry_run=True).new == 23
        for name in names[3:20]:
            shelf.tell(shelf.put(name, b"x"))
        run(shelf.pool, "update catalogue_object set state = 'rejected', etag = 'old', due_at = null, look = false")
        for name in names[5:8]:
            shelf.delete(name)
        found = shelf.compare(dry_run=True)
    assert (found.objects, found.new, found.changed, found.gone) == (20, 6, 14, 3)


def test_once_a_night_one_worker_compares(shelf: Shelf) -> None:
    comparison = Comparison(pool=shelf.pool, s3=shelf.s3, settings=shelf.settings)
    assert comparison.nightly() is not None  # there was none before
    assert comparison.nightly() is None
    run(shelf.pool, "update sweep set swept_at = swept_at - interval '1 day'")
    assert comparison.nightly() is not None
