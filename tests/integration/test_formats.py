"""Copies of a bucket's recordings in other formats: what is wanted is there, what is not wanted is not, whatever happens in between."""

import io
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from api_served import served
from control_rows import rows, run
from earmark.index.catalogue import Tracks
from earmark.index.formats import TrackFormat
from earmark.ingest import ingest
from earmark.settings import Formats as FormatSettings
from earmark.settings import Settings
from earmark.stocking.bucket import KEY_BYTES_MAX
from earmark.stocking.fan_out import LEASE_S, FanOut
from earmark.stocking.formats import Formats, look_through
from stocked_bucket import BUCKET, Shelf, WatchedEncoder, deadly, recording

A, B = recording(1), recording(2)
PREVIEW = {"name": "preview", "codec": "aac", "kbps": 64}
LOSSLESS = {"name": "master", "codec": "flac"}
PREFIX = "catalogue/_formats/"


class Sent:
    """An S3 client that counts what is written, and may refuse it."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.written: Counter[str] = Counter()
        self.refused = ""
        self.meanwhile: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **arguments: Any) -> Any:
        self._refuse("PutObject")
        self.written["put"] += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return self._s3.put_object(**arguments)

    def delete_object(self, **arguments: Any) -> Any:
        self._refuse("DeleteObject")
        self.written["delete"] += 1
        return self._s3.delete_object(**arguments)

    def _refuse(self, operation: str) -> None:
        if self.refused:
            raise ClientError({"Error": {"Code": self.refused, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, operation)


class Counted:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.bytes = 0

    def copied(self, outcome: str, *, size_bytes: int = 0) -> None:
        self.outcomes[outcome] += 1
        self.bytes += size_bytes

    def copies_due(self, **counts: float) -> None:
        self.waiting = counts


class Copier:
    """A bucket with its catalogue, and one job that makes copies when it is told to."""

    def __init__(self, shelf: Shelf, encoder: WatchedEncoder, folder: Path, *, worker: str = "worker", **settings: Any) -> None:
        self.shelf, self.encoder, self.folder, self.worker = shelf, encoder, folder, worker
        self.s3 = Sent(shelf.s3)
        self.meter = Counted()
        self.change(**settings)

    def change(self, *targets: dict[str, Any], **settings: Any) -> "Copier":
        """Other settings of formats, from now on."""
        more = {"targets": targets} if targets else {}
        self.settings = Settings(catalogue=self.shelf.settings, formats=FormatSettings.model_validate({**more, **settings}))
        of: Any = {"pool": self.shelf.pool, "s3": self.s3, "settings": self.settings, "meter": self.meter, "stop": threading.Event()}
        self.formats = Formats(worker=self.worker, **of)
        self.rows = FanOut(pool=self.shelf.pool, worker=f"{self.worker} formats 0")
        self.copying = self.formats.copying(self.rows, self.encoder, self.folder)
        return self

    def settle(self) -> "Copier":
        """The catalogue as the bucket is, and all copies that are due."""
        self.shelf.settle()
        self.formats.watch()
        while turn := self.rows.claim():
            self.formats.take_up(self.rows, self.copying, turn)
        return self

    def has(self, name: str, data: Any) -> "Copier":
        self.shelf.tell(self.shelf.put(name, data))
        return self.settle()

    def pass_time(self, seconds: float) -> None:
        of = "(select make_interval(secs => %s) as s) of"
        run(self.shelf.pool, f"update fan_out set due_at = due_at - of.s, taken_until = taken_until - of.s from {of}", seconds)

    def shown(self, track_id: str) -> dict[str, TrackFormat]:
        entry = Tracks(pool=self.shelf.pool).show(track_id)
        assert entry
        assert len({made.name for made in entry.formats}) == len(entry.formats)
        return {made.name: made for made in entry.formats}

    def bytes_of(self, track_id: str, name: str = "preview") -> bytes:
        made = self.shown(track_id)[name]
        assert made.state == "made" and made.url
        data: bytes = self.s3.get_object(Bucket=BUCKET, Key=made.url.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
        assert len(data) == made.size_bytes
        return data

    @property
    def keys(self) -> list[str]:
        """Of the copies in the bucket, without what they have in common."""
        return [entry["Key"].removeprefix(PREFIX) for entry in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX).get("Contents", ())]


@pytest.fixture
def copier(shelf: Shelf, encoder: WatchedEncoder, tmp_path: Path) -> Copier:
    encoder.encoded = 0
    return Copier(shelf, encoder, tmp_path)


def sound_of(data: bytes) -> tuple[Any, int, str, dict[str, str]]:
    """What a player gets: samples [channels, n], their rate, the codec, the tags."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
        return samples, stream.rate, stream.codec_context.name, {**container.metadata, **stream.metadata}


# ------------------------------------------------------------------------------------------------ made


def test_a_recording_of_the_bucket_gets_a_preview_that_plays(copier: Copier) -> None:
    copier.has("albums/one.flac", recording(1, title="Blue Sky", artist="The Example Five"))
    (key,) = copier.keys
    assert key.startswith("albums/one.flac/preview-") and key.endswith(".m4a")
    made = copier.shown("key:albums/one.flac")["preview"]
    assert (made.state, made.codec, made.url, made.reason) == ("made", "aac", f"s3://{BUCKET}/{PREFIX}{key}", "")
    assert (made.rate_hz, made.channels) == (16_000, 1) and made.duration_s == pytest.approx(4.0, abs=0.01)
    samples, rate_hz, codec, tags = sound_of(copier.bytes_of("key:albums/one.flac"))
    assert (rate_hz, codec, tags["title"], tags["artist"]) == (16_000, "aac", "Blue Sky", "The Example Five")
    assert samples.shape[1] / rate_hz == pytest.approx(4.0, abs=0.1)
    assert copier.s3.head_object(Bucket=BUCKET, Key=PREFIX + key)["ContentType"] == "audio/mp4"
    assert (copier.meter.outcomes, copier.meter.bytes) == ({"made": 1}, made.size_bytes)


def test_the_api_tells_of_it_and_of_a_licence_that_forbids_it(copier: Copier) -> None:
    copier.change(PREVIEW, LOSSLESS).has("one.flac", A)
    with served(copier.shelf.pool) as api:
        told = api.ask("GET", "/v1/tracks/key:one.flac", token=api.token("catalogue:read")).document
    master, preview = told["formats"]
    assert (preview["state"], preview["url"]) == ("made", f"s3://{BUCKET}/{PREFIX}{copier.keys[0]}")
    assert (master["state"], master["url"], "`copies: lossless`" in master["reason"]) == ("refused", None, True)
    assert told["track"]["copies"] == told["formats_note"] == ""


def test_done_again_nothing_is_written(copier: Copier) -> None:
    copier.has("one.flac", A)
    before = rows(copier.shelf.pool, "select * from track_format")
    run(copier.shelf.pool, "update fan_out set due_at = now(), news = news + 1")
    copier.settle().has("one.flac", A)
    copier.change().settle()
    assert (copier.s3.written, copier.encoder.encoded) == ({"put": 1}, 1)
    assert rows(copier.shelf.pool, "select * from track_format") == before
    # And it is taken for no recording.
    found = copier.shelf.compare()
    assert (found.objects, found.new) == (1, 0) and list(copier.shelf.tracks) == ["key:one.flac"]
    assert copier.shelf.tell(copier.shelf.put(f"_formats/{copier.keys[0]}", b"x")) == ["foreign"]


def test_each_format_of_the_settings_is_made_of_one_reading_of_the_object(copier: Copier) -> None:
    short = {"name": "teaser", "codec": "opus", "kbps": 32, "channels_max": 1, "begin_s": 1, "length_s": 2}
    copier.change(PREVIEW, short, {"name": "radio", "codec": "mp3", "kbps": 128}).has("one.flac", A)
    shown = copier.shown("key:one.flac")
    assert {name: (made.state, made.codec) for name, made in shown.items()} == {
        "preview": ("made", "aac"),
        "radio": ("made", "mp3"),
        "teaser": ("made", "opus"),
    }
    assert shown["teaser"].duration_s == pytest.approx(2.0) and len(copier.keys) == 3


# ------------------------------------------------------------------------------------------------ replaced, described, removed


def test_a_replaced_recording_never_shows_the_preview_of_another(copier: Copier) -> None:
    copier.has("one.flac", A)
    (before,) = copier.keys
    copier.shelf.has("one.flac", B)  # its copies are not looked at yet
    assert copier.shown("key:one.flac") == {}
    copier.settle()
    (after,) = copier.keys
    assert after != before and copier.shown("key:one.flac")["preview"].url == f"s3://{BUCKET}/{PREFIX}{after}"
    assert copier.meter.outcomes == {"made": 2, "removed": 1}


def test_a_preview_says_what_the_owner_says_by_now(copier: Copier) -> None:
    copier.has("one.flac", A)
    copier.has("one.flac.json", {"title": "Said Later", "artists": ["One", "Two"], "isrc": "GBAYE0601498"})
    *_, tags = sound_of(copier.bytes_of("isrc:GBAYE0601498"))
    assert (tags["title"], tags["artist"]) == ("Said Later", "One; Two")
    assert len(copier.keys) == 1


def test_a_description_that_no_copy_tells_of_changes_no_copy(copier: Copier) -> None:
    copier.has("one.flac", A).has("one.flac.json", {"policy": "block", "track_id": "mine"})
    assert copier.s3.written["put"] == 1 and copier.shown("mine")["preview"].state == "made"


def test_with_its_recording_a_copy_goes(copier: Copier) -> None:
    copier.has("one.flac", A).has("two.flac", B)
    copier.shelf.tell(copier.shelf.delete("one.flac"))
    copier.settle()
    assert [key.partition("/")[0] for key in copier.keys] == ["two.flac"]
    assert [row["key"] for row in rows(copier.shelf.pool, "select key from fan_out")] == ["catalogue/two.flac"]
    assert len(rows(copier.shelf.pool, "select 1 from track_format")) == 1


def test_with_its_format_a_copy_goes_and_comes_back_with_it(copier: Copier) -> None:
    copier.has("one.flac", A)
    first = copier.keys
    copier.change({"name": "radio", "codec": "mp3"}).settle()
    assert [key.partition("/")[2].partition("-")[0] for key in copier.keys] == ["radio"] and "preview" not in copier.shown("key:one.flac")
    copier.change(targets=()).settle()
    entry = Tracks(pool=copier.shelf.pool).show("key:one.flac")
    assert copier.keys == [] and entry and (entry.formats, entry.formats_note) == ((), "none are made: formats.targets asks for none")
    assert copier.change().settle().keys == first
    better = copier.change({**PREVIEW, "kbps": 96}).settle().keys
    assert len(better) == 1 and better != first


def test_another_place_has_the_copies_and_the_old_one_none(copier: Copier) -> None:
    copier.has("one.flac", A)
    copier.s3.create_bucket(Bucket="previews")
    copier.change(place="s3://previews/of/").settle()
    assert copier.keys == []
    (key,) = [entry["Key"] for entry in copier.s3.list_objects_v2(Bucket="previews")["Contents"]]
    assert copier.shown("key:one.flac")["preview"].url == f"s3://previews/{key}" and key.startswith("of/one.flac/")


# ------------------------------------------------------------------------------------------------ licences


def test_a_lossless_copy_is_made_only_where_the_licence_says_so(copier: Copier) -> None:
    copier.change(PREVIEW, LOSSLESS).has("one.flac", A).has("two.flac", B).has("two.flac.json", {"copies": "lossless"})
    shown = copier.shown("key:one.flac")
    assert (shown["preview"].state, shown["master"].state, shown["master"].url) == ("made", "refused", None)
    assert shown["master"].reason == "its licence does not allow a lossless copy: `copies: lossless`, in its sidecar or its manifest, would"
    copy, rate_hz, codec, _ = sound_of(copier.bytes_of("key:two.flac", "master"))
    original, *_ = sound_of(B)
    assert (rate_hz, codec) == (16_000, "flac") and np.array_equal(copy, original)


def test_a_licence_that_is_withdrawn_takes_the_copy_with_it(copier: Copier) -> None:
    copier.change(PREVIEW, LOSSLESS).has("one.flac.json", {"copies": "lossless"}).has("one.flac", A)
    assert len(copier.keys) == 2
    copier.has("one.flac.json", {"copies": "lossy"})
    assert [key.partition("/")[2].partition("-")[0] for key in copier.keys] == ["preview"]
    assert copier.shown("key:one.flac")["master"].state == "refused"
    copier.has("one.flac.json", {"copies": "none"})
    assert copier.keys == []
    assert {made.reason for made in copier.shown("key:one.flac").values()} == {"its licence allows no copies: it says `copies: none`"}
    assert set(copier.has("one.flac.json", {"copies": "lossless"}).shown("key:one.flac")) == {"preview", "master"} and len(copier.keys) == 2


def test_a_licence_that_nobody_understands_counts_for_nothing(copier: Copier) -> None:
    copier.change(PREVIEW, LOSSLESS).has("one.flac", A).has("one.flac.json", {"copies": "CC-BY-4.0"})
    (reason,) = copier.shelf.rejected["one.flac.json"]
    assert reason.endswith("copies 'CC-BY-4.0' is none: there is none, lossy, lossless, for the copies that its licence allows")
    assert copier.shown("key:one.flac")["master"].state == "refused"


# ------------------------------------------------------------------------------------------------ what cannot be made


def test_a_recording_that_did_not_come_from_the_bucket_says_why_it_has_none(copier: Copier, tmp_path: Path) -> None:
    (tmp_path / "disk.flac").write_bytes(A)
    (result,) = ingest([tmp_path / "disk.flac"], pool=copier.shelf.pool, jobs=1)
    copier.settle()
    entry = Tracks(pool=copier.shelf.pool).show(result.track_id or "")
    assert entry and entry.formats == ()
    assert entry.formats_note.startswith("none are made: it did not come from the catalogue's bucket (catalogue.place), so there is no object")


def test_before_anybody_has_looked_it_says_what_is_waited_for(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    entry = Tracks(pool=copier.shelf.pool).show("key:one.flac")
    assert entry and entry.formats_note == "they wait for a worker with the role catalogue, or for `earmark catalogue formats`"
    copier.formats.watch()
    assert copier.meter.waiting["due"] == 1
    copier.settle().formats.watch()
    assert copier.meter.waiting == {"due": 0, "oldest_s": 0.0, "failed": 0}


def test_what_cannot_be_encoded_says_why_and_is_not_tried_again_until_something_changes(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    copier.change({**LOSSLESS, "name": "whole"}, PREVIEW, bytes_max=100_000)
    copier.has("one.flac.json", {"copies": "lossless"}).has("one.flac", recording(5, 8.0))
    shown = copier.shown("key:one.flac")
    assert (shown["preview"].state, shown["whole"].state) == ("made", "failed")
    assert shown["whole"].reason == "catalogue/one.flac is not written as flac: that would have more than 100,000 bytes (formats.bytes_max)"
    run(copier.shelf.pool, "update fan_out set due_at = now(), news = news + 1")
    assert copier.settle().encoder.encoded == 2
    copier.change({**LOSSLESS, "name": "whole"}, PREVIEW, bytes_max=1_000_000).settle()
    assert copier.shown("key:one.flac")["whole"].state == "made"


def test_a_recording_that_kills_the_process_that_encodes_it_costs_its_copy(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier.encoder, "_ask", deadly(copier.encoder))
    copier.has("one.flac", A)
    assert copier.shown("key:one.flac")["preview"].reason == "catalogue/one.flac cannot be written as aac: the process that decoded it died"
    monkeypatch.undo()
    assert copier.has("two.flac", B).shown("key:two.flac")["preview"].state == "made"


def test_what_s3_refuses_is_tried_again_and_given_up_and_made_when_it_may_be(copier: Copier) -> None:
    copier.change(attempts_max=2)
    copier.s3.refused = "AccessDenied"
    with capture_logs() as logs:
        copier.has("one.flac", A)
    (told,) = (line for line in logs if line["event"] == "formats.postponed")
    assert "s3:PutObject of s3://" in told["reason"] and told["reason"].endswith("allow s3:PutObject in the role's policy")
    assert copier.shown("key:one.flac")["preview"].state == "waiting" and copier.keys == []
    for _ in range(2):
        copier.pass_time(3_600)
        copier.settle()
    made = copier.shown("key:one.flac")["preview"]
    assert made.state == "failed" and made.reason.startswith("it is given up for now: it was tried 2 times: s3:PutObject of") and copier.encoder.encoded == 2
    copier.s3.refused = ""
    assert copier.settle().shown("key:one.flac")["preview"].state == "failed"
    copier.formats.nightly()
    assert copier.settle().shown("key:one.flac")["preview"].state == "made"


def test_what_may_not_be_deleted_is_not_forgotten(copier: Copier) -> None:
    copier.change(attempts_max=1).has("one.flac", A)
    copier.s3.refused = "AccessDenied"
    copier.shelf.tell(copier.shelf.delete("one.flac"))
    copier.settle()
    copier.pass_time(3_600)
    copier.settle()
    assert len(copier.keys) == 1 and [row["state"] for row in rows(copier.shelf.pool, "select state from track_format")] == ["unwanted"]
    copier.s3.refused = ""
    copier.formats.nightly()
    assert copier.settle().keys == [] and rows(copier.shelf.pool, "select * from fan_out") == []


def test_a_bucket_that_is_gone_has_no_copies_any_more(copier: Copier) -> None:
    copier.s3.create_bucket(Bucket="previews")
    copier.change(place="s3://previews/of/").has("one.flac", A)
    for entry in copier.s3.list_objects_v2(Bucket="previews")["Contents"]:
        copier.s3.delete_object(Bucket="previews", Key=entry["Key"])
    copier.s3.delete_bucket(Bucket="previews")
    assert len(copier.change(place="").settle().keys) == 1
    assert [row["state"] for row in rows(copier.shelf.pool, "select state from track_format")] == ["made"]


def test_an_object_that_is_larger_than_it_may_be_by_now_says_so(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    copier.shelf.settings = copier.shelf.settings.model_copy(update={"object_bytes_max": 1_000})
    copier.change().settle()
    assert copier.shown("key:one.flac")["preview"].reason.endswith("bytes and may have 1,000 (catalogue.object_bytes_max)")


def test_after_a_refusal_the_next_recording_waits(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    copier.s3.refused = "AccessDenied"
    for name, data in (("one.flac", A), ("two.flac", B)):
        copier.shelf.has(name, data)
    waits: list[float] = []
    monkeypatch.setattr(copier.formats._stop, "wait", lambda s: waits.append(s) or len(waits) > 1)
    monkeypatch.setattr(copier.formats._news, "wait", lambda *_: None)
    copier.formats._step(copier.rows, copier.copying, copier.encoder)
    assert waits == [5.0, 10.0] and copier.encoder.encoded == 2


# ------------------------------------------------------------------------------------------------ in the midst


def test_what_a_dead_worker_left_is_made_by_the_next(copier: Copier) -> None:
    """Dead behind its PutObject, before it could say so: the object is written once more, under the same key."""
    copier.shelf.has("one.flac", A)
    turn = copier.rows.claim()
    assert turn

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    made, copier.rows.made = copier.rows.made, die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        copier.copying.take(turn, lambda: None)
    copier.rows.made = made  # type: ignore[method-assign]
    left = copier.keys
    assert len(left) == 1 and copier.settle().shown("key:one.flac")["preview"].state == "waiting"  # it may live still
    copier.pass_time(LEASE_S + 1)
    assert copier.settle().shown("key:one.flac")["preview"].state == "made"
    assert copier.keys == left and copier.encoder.encoded == 2


def test_a_recording_that_is_replaced_while_it_is_encoded_leaves_nothing_of_the_old_one(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    copier.encoder.meanwhile = lambda: copier.shelf.has("one.flac", B)
    copier.settle()
    assert copier.s3.written["put"] == 1 and copier.meter.outcomes == {"made": 1, "removed": 1}
    (key,) = copier.keys
    assert copier.shown("key:one.flac")["preview"].url == f"s3://{BUCKET}/{PREFIX}{key}"


def test_a_recording_that_is_deleted_while_its_copy_is_sent_leaves_nothing(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    copier.s3.meanwhile = lambda: copier.shelf.lacks("one.flac")
    copier.settle()
    assert copier.keys == [] and rows(copier.shelf.pool, "select * from fan_out") == rows(copier.shelf.pool, "select * from track_format") == []


def test_an_object_that_is_not_what_the_catalogue_has_is_waited_for(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    news = copier.shelf.put("one.flac", B)
    copier.settle()
    assert copier.keys == [] and copier.meter.outcomes == {"postponed": 1}
    copier.shelf.tell(news)
    assert len(copier.settle().keys) == 1


def test_two_workers_make_each_copy_once(copier: Copier, tmp_path: Path) -> None:
    for number in range(4):
        copier.shelf.has(f"{number}.flac", recording(20 + number, 3.2))
    folder = tmp_path / "other"
    folder.mkdir()
    other_encoder = WatchedEncoder()
    try:
        other = Copier(copier.shelf, other_encoder, folder, worker="other")
        threads = [threading.Thread(target=made.settle) for made in (copier, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        other_encoder.close()
    assert copier.encoder.encoded + other_encoder.encoded == 4 == len(copier.keys)


def test_who_is_asked_to_end_puts_back_what_is_under_way_and_that_is_no_try(copier: Copier) -> None:
    copier.shelf.has("one.flac", A)
    copier.formats._stop.set()
    turn = copier.rows.claim()
    assert turn
    copier.formats.take_up(copier.rows, copier.copying, turn)
    assert rows(copier.shelf.pool, "select attempts, worker, due_at <= now() as due from fan_out") == [{"attempts": 0, "worker": None, "due": True}]


# ------------------------------------------------------------------------------------------------ put right


def test_a_copy_that_somebody_deleted_is_made_again(copier: Copier) -> None:
    copier.has("one.flac", A).has("two.flac", B)
    for key in copier.keys:
        copier.s3.delete_object(Bucket=BUCKET, Key=PREFIX + key)
    lacking = look_through(copier.rows, copier.formats._place)
    assert len(lacking) == 2 and len(copier.settle().keys) == 2
    assert look_through(copier.rows, copier.formats._place) == []
    # And what somebody asks for, though it is there.
    keys = copier.keys
    copier.rows.again(only=["catalogue/one.flac"])
    assert copier.settle().keys == keys and copier.s3.written["put"] == 5
    copier.rows.again()
    assert copier.settle().s3.written["put"] == 7


NAMES = ("../up.flac", 'quote\'s "two".flac', "🎵 née.flac", "a+b%20&c=d?e#f.flac", "x" * 1_009 + ".flac", "a//b.flac")


def test_whatever_an_object_is_called_its_copy_has_a_place(copier: Copier) -> None:
    for number, name in enumerate(NAMES):
        copier.shelf.has(name, recording(70 + number, 3.2))
    keys = copier.settle().keys
    assert len(keys) == len(NAMES)
    assert all(len((PREFIX + key).encode()) <= KEY_BYTES_MAX and not {"", ".", ".."} & set(key.split("/")) for key in keys)
    for track_id in copier.shelf.tracks:
        copier.bytes_of(track_id)
    for name in NAMES:
        copier.shelf.lacks(name)
    assert copier.settle().keys == []
