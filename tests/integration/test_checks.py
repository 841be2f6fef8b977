"""Files to check, on record: one session for an object however it is told of, in the background of live streams, and found by a sweep."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import permutations
from types import SimpleNamespace

import pytest

from control_events import s3_event
from control_rows import leases_of, row, rows, run, want
from earmark.control import checks, wanted
from earmark.control.check_sweep import FOUND_MAX, PAGE_MAX, PAGES_MAX, CheckSweep
from earmark.control.leases import Ended, Leases
from earmark.control.messages import LISTED, ObjectArrived, parse
from earmark.control.places import Places
from earmark.hits.ledger import set_file_aside
from earmark.postgres import Pool, transaction
from earmark.settings import Leases as LeaseSettings
from earmark.settings import Reconcile, Results
from hits_samples import validator
from stored_objects import MemoryS3

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLACES = Places(check="s3://b/check/", archives={"s3://b/check/archive/": "*"})


def arrived(key: str = "check/a.mp3", *, after_s: float = 0.0, **of) -> ObjectArrived:
    values = {"bucket": "b", "key": key, "version": "", "size": 5, "sequencer": "", "etag": "e1", "at": NOON + timedelta(seconds=after_s)}
    return ObjectArrived(**{**values, **of})


def record(pool: Pool, *messages: ObjectArrived) -> list[str]:
    effects = []
    for message in messages:
        with transaction(pool) as connection:
            effects.append(wanted.record(connection, message, places=PLACES))
    return effects


def files(pool: Pool) -> list[dict]:
    return rows(
        pool,
        "select f.*, s.state, s.stop_reason, s.background, s.wanted_at, s.source, s.url from checked_file f join stream s using (stream_id) order by file_no",
    )


def test_an_object_is_one_session_in_the_background(pool):
    assert record(pool, arrived()) == ["opened"]
    ((file),) = files(pool)
    assert (file["source"], file["background"], file["wanted_at"], file["url"]) == ("file", True, None, "s3://b/check/a.mp3")
    assert file["stream_id"].startswith("a-mp3-")
    assert file["stream_id"] == checks.stream_of(arrived()).stream_id


def test_the_event_says_of_which_bytes_it_is():
    import json

    (message,) = parse(json.dumps(s3_event("check/a.mp3", bucket="b")))
    assert message.etag == "b1946ac92492d2347c6235b4d2611184"


@pytest.mark.parametrize("key", ["check/a.mp3.earmark.json", "check/a.mp3.earmark.html", "check/folder/", "other/a.mp3"])
def test_results_folders_and_what_lies_elsewhere_are_no_files(pool, key):
    assert record(pool, arrived(key)) == ["foreign"]
    assert files(pool) == []


AGAIN = [
    arrived(sequencer="s1"),  # the same event
    arrived(sequencer="listed x", after_s=-1.2),  # a sweep, by S3's own clock
    arrived(version="", sequencer="", after_s=3),  # another notification of the same write
]


@pytest.mark.parametrize("order", list(permutations(AGAIN)), ids=lambda _: "order")
def test_the_same_object_changes_nothing_whoever_tells_of_it_in_whatever_order(pool, order):
    assert record(pool, *order).count("opened") == 1
    assert len(files(pool)) == 1


def test_the_event_of_what_a_sweep_found_may_come_much_later(pool):
    """An upload in parts is listed with the time at which it began."""
    assert record(pool, arrived(sequencer=LISTED + "x"), arrived(sequencer="s9", after_s=1_800)) == ["opened", "repeat"]


def test_a_version_is_known_by_its_name(pool):
    assert record(pool, arrived(version="v1"), arrived(version="v1", after_s=900, etag="")) == ["opened", "repeat"]


def test_in_a_bucket_without_versions_all_have_the_same_and_it_says_nothing(pool):
    assert record(pool, arrived(version="null"), arrived(version="null", etag="e2", after_s=9)) == ["opened", "opened"]
    assert [file["version"] for file in files(pool)] == ["", ""]


def test_a_replaced_object_is_a_new_run_and_the_old_one_is_told_to_stop(pool):
    assert record(pool, arrived(), arrived(etag="e2", after_s=1)) == ["opened", "opened"]
    first, second = files(pool)
    assert first["stream_id"] != second["stream_id"]
    assert (first["stop_reason"], second["stop_reason"]) == ("replaced", None)


def test_the_same_bytes_put_there_again_later_are_a_new_run(pool):
    assert record(pool, arrived(), arrived(after_s=60), arrived(after_s=120)) == ["opened"] * 3
    ids = [file["stream_id"] for file in files(pool)]
    assert ids == [ids[0], ids[0] + "-2", ids[0] + "-3"]


def test_what_came_before_and_is_told_late_is_not_read_over_what_is_there(pool):
    assert record(pool, arrived(etag="e2", after_s=60), arrived(after_s=0)) == ["opened", "repeat"]


def test_names_of_any_kind_become_ids_of_one(pool):
    keys = ["check/../../etc/passwd", 'check/it\'s "quoted".wav', "check/🎵.mp3", "check/" + "é" * 500, "check/.hidden", "check/a\nb.mp3"]
    assert record(pool, *(arrived(key) for key in keys)) == ["opened"] * len(keys)
    ids = [file["stream_id"] for file in files(pool)]
    assert len(set(ids)) == len(keys)
    assert all(stream_id.replace("-", "").replace("_", "").isalnum() and stream_id.isascii() and len(stream_id) <= 70 for stream_id in ids)


# ------------------------------------------------------------------------------------------------ leases


def leases(pool: Pool, files_max: int) -> Leases:
    return Leases(pool=pool, worker="w", settings=LeaseSettings(), background_max={"file": files_max})


def test_live_streams_are_claimed_first_and_of_files_no_more_than_are_allowed(pool):
    record(pool, *(arrived(f"check/{number}.mp3") for number in range(5)))
    want(pool, "st-1", "st-2")
    held = leases(pool, 2)
    assert [lease.stream.source for lease in held.claim(10)] == ["ivs", "ivs", "file", "file"]
    assert held.claim(10) == []
    record_of = held.release
    (file,) = [lease for lease in held._held.values() if lease.stream.source == "file"][:1]
    assert record_of(file, Ended(reason="endlist"))
    assert [lease.stream.source for lease in held.claim(10)] == ["file"]


def test_with_no_room_but_for_live_streams_files_wait(pool):
    record(pool, arrived())
    want(pool, "st-1", "st-2")
    held = leases(pool, 2)
    assert [lease.stream.source for lease in held.claim(2)] == ["ivs", "ivs"]


def test_a_worker_without_room_for_files_leaves_them_to_others(pool):
    record(pool, arrived())
    assert leases(pool, 0).claim(10) == []
    assert leases_of(pool, "w").claim(10) == []
    waiting = leases_of(pool, "w").waiting()
    assert waiting.streams == 0, "no workers are added for what has no hurry"


def test_a_file_whose_owner_died_is_taken_over(pool):
    record(pool, arrived())
    ((lease),) = leases(pool, 1).claim(5)
    run(pool, "update stream set lease_until = now() - interval '1 s'")
    ((again),) = Leases(pool=pool, worker="other", settings=LeaseSettings(), background_max={"file": 1}).claim(5)
    assert (again.stream.stream_id, again.fencing, again.alone) == (lease.stream.stream_id, lease.fencing + 1, True)


def test_a_file_that_kills_its_processes_says_so_beside_it(pool):
    record(pool, arrived())
    (file,) = files(pool)
    run(pool, "update stream set state = 'quarantined', last_error = 'it died of signal 11'")
    with transaction(pool) as connection:
        set_file_aside(connection, file["stream_id"], results=Results(), now=NOON)
    queued = rows(pool, "select target, key, body from outbox order by key desc")
    assert [(item["target"], item["key"]) for item in queued] == [("check", "check/a.mp3.earmark.json"), ("check", "check/a.mp3.earmark.html")]
    import json

    document = json.loads(queued[0]["body"])
    validator("check").validate(document)
    assert (document["outcome"], document["error"]) == ("refused", "it died of signal 11")


# ------------------------------------------------------------------------------------------------ the sweep


class Meter:
    def __init__(self) -> None:
        self.found, self.waits = [], []

    def files_found(self, count: int) -> None:
        self.found.append(count)

    def files_waiting(self, count: int, *, oldest_age_s: float) -> None:
        self.waits.append(count)


def swept(pool: Pool, s3: MemoryS3, sweep: CheckSweep | None = None) -> SimpleNamespace:
    meter = Meter()
    sweep = sweep or CheckSweep(pool=pool, s3=s3, places=PLACES, settings=Reconcile(), meter=meter, stop=threading.Event())
    run(pool, "delete from sweep")
    return SimpleNamespace(found=sweep.sweep(), meter=meter, sweep=sweep)


def test_what_nobody_told_of_is_found_once(pool):
    s3 = MemoryS3(
        {"check/a.mp3": b"a", "check/b.mp3": b"bb", "check/b.mp3.earmark.json": b"{}", "check/folder/": b"", "check/archive/x.000001.ts": b"t", "else": b""}
    )
    assert swept(pool, s3).found == 1
    assert [file["key"] for file in files(pool)] == ["check/a.mp3"]
    assert swept(pool, s3).found == 0
    assert swept(pool, s3).meter.waits == [1]


def test_results_that_are_older_than_their_file_are_another_files(pool):
    s3 = MemoryS3({"check/a.mp3": b"a", "check/a.mp3.earmark.json": b"{}"})
    s3.ats["check/a.mp3"] += timedelta(seconds=1)
    assert swept(pool, s3).found == 1


def test_what_came_a_moment_ago_is_left_to_its_event(pool):
    s3 = MemoryS3({"check/a.mp3": b"a"}, at=datetime.now(UTC))
    assert swept(pool, s3).found == 0


def test_what_is_known_is_not_found_again_though_its_results_were_deleted(pool):
    s3 = MemoryS3({"check/a.mp3": b"a"})
    record(pool, arrived(etag=s3.etag("check/a.mp3")))
    run(pool, "update stream set state = 'ended'")
    assert swept(pool, s3).found == 0


def test_a_listing_without_end_is_read_in_turns_and_a_sweep_opens_so_many(pool):
    count = PAGES_MAX * PAGE_MAX + 5
    s3 = MemoryS3({f"check/{number:06d}.mp3": b"" for number in range(count)})
    done = {f"check/{number:06d}.mp3.earmark.json": b"" for number in range(count - 6)}
    first = swept(pool, s3)
    assert first.found == FOUND_MAX
    s3.objects |= done
    s3.ats |= dict.fromkeys(done, NOON)
    for _ in range(3):
        swept(pool, s3, first.sweep)
    assert row(pool, checks.stream_of(arrived(f"check/{count - 1:06d}.mp3", etag=s3.etag(f"check/{count - 1:06d}.mp3"))).stream_id)


def test_one_worker_of_all_sweeps(pool):
    s3 = MemoryS3({"check/a.mp3": b"a"})
    assert swept(pool, s3).found == 1
    sweep = CheckSweep(pool=pool, s3=s3, places=PLACES, settings=Reconcile(), meter=Meter(), stop=threading.Event())
    assert sweep.sweep() is None
