"""`earmark demo --scenario`: the other ways in. Archive files of MediaLive, stored files, and a catalogue that is a bucket.

As in `earmark.local.demo` the daemon knows nothing of what is in them, and what it put on record is compared with the truth at the end.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from earmark import postgres
from earmark.errors import EarmarkError
from earmark.index.catalogue import Tracks
from earmark.local import programme as programmes
from earmark.local.archiving import archive_files
from earmark.local.programme import Programme
from earmark.local.stand import LOG, Stand, prepare, write_m4a
from earmark.local.surroundings import say, terminated_as_interrupted
from earmark.local.verdict import Finding, judge
from earmark.model import Track
from earmark.settings import Database

#: Of an archive file: what MediaLive calls its rollover interval.
FILE_S = 6.0
#: Between two of them: six seconds of the channel in a fifth of one.
PUT_EVERY_S = 0.2
#: Everything is done within this, on a machine that does other things, too.
LIMIT_S = 120.0


def run_archive(*, out: Path) -> int:
    """A MediaLive channel from RUNNING to IDLE: its files reach the bucket out of order, one twice, the last one shorter."""
    with _stand(out, "stream.m4a") as stand:
        programme = stand.catalogue(_composed(stand))
        files = archive_files(programme.samples, file_s=FILE_S)
        channel_arn = stand.aws.put_archive_channel("concert", f"s3ssl://{stand.deployed.archive_bucket}/channel-7/concert-$dt$", rollover_s=int(FILE_S))
        stand.start(medialive__end_grace_s="2")
        say("ready", f"after {stand.took_s:.0f} s; the channel writes {len(files)} files of {FILE_S:.0f} s\n")
        stand.aws.put_medialive_event(channel_arn, "RUNNING")
        began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        s3 = stand.aws.client("s3")
        for number in _disordered(len(files)):
            key = f"channel-7/concert-{began}.{number:06d}.ts"
            _put(s3, stand.deployed.archive_bucket, key, files[number])
            time.sleep(PUT_EVERY_S)
        stand.aws.put_medialive_event(channel_arn, "IDLE")
        documents = _until(stand, lambda: _published(stand), "the run is over and its report is in S3")
        stand.save(stand.deployed.results_bucket, out / "s3")
        return _verdict(judge(programme, documents["hits"], summary=documents["summary"]), out)


def run_files(*, out: Path) -> int:
    """An evening's recording is put under `check/`, and a file that is none; what is in them appears beside them."""
    with _stand(out, "stream.m4a") as stand:
        programme = stand.catalogue(_composed(stand))
        s3, bucket = stand.aws.client("s3"), stand.deployed.archive_bucket
        stand.start(check__place=f"s3://{bucket}/check/")
        say("ready", f"after {stand.took_s:.0f} s; the file lasts {programme.parts[-1].end_s:.0f} s\n")
        began = time.monotonic()
        _put(s3, bucket, "check/evening.m4a", (out / "stream.m4a").read_bytes())
        _put(s3, bucket, "check/notes.mp3", b"PK\x03\x04 a zip by the name of a song")
        found = [_until(stand, partial(_beside, s3, bucket, f"check/{name}"), f"what is in {name} lies beside it") for name in ("evening.m4a", "notes.mp3")]
        print(f"  checked     after {time.monotonic() - began:.1f} s: {found[0]['outcome']}; {found[1]['outcome']}, {found[1]['error']}")
        stand.save(bucket, out / "s3")
        evening, notes = found
        findings = judge(programme, evening["plays"], summary={"state": "ended", "end_reason": evening["outcome"], "coverage": evening["coverage"]})
        refused = Finding(ok=notes["outcome"] == "refused", text=f"the file that is no sound is {notes['outcome']}: {notes['error']}")
        return _verdict([*findings, refused], out)


def run_catalogue(*, out: Path) -> int:
    """Recordings are put under `catalogue/`, one with a sidecar, one that is none; one is deleted again. Nobody types anything."""
    with _stand(out, "stream.m4a") as stand:
        programme = _composed(stand)
        s3, bucket = stand.aws.client("s3"), stand.deployed.archive_bucket
        stand.start(roles="streams,catalogue", catalogue__place=f"s3://{bucket}/catalogue/", check__place=f"s3://{bucket}/check/")
        say("ready", f"after {stand.took_s:.0f} s; the catalogue is empty\n")
        described, gone = programme.recordings[0], programme.recordings[-1]
        for recording in programme.recordings:
            _put(s3, bucket, f"catalogue/{recording.file.name}", recording.file.read_bytes())
        _put(s3, bucket, f"catalogue/{described.file.stem}.json", json.dumps({"rights_holder": "Described Beside It Ltd", "policy": "block"}).encode())
        _put(s3, bucket, "catalogue/notes.mp3", b"PK\x03\x04 a zip by the name of a song")
        rejected = _until(stand, partial(_read, s3, bucket, "catalogue/_rejected/notes.mp3.json"), "the zip is rejected")
        known = _until(stand, lambda: _stocked(stand, of=len(programme.recordings), beside="Described Beside It Ltd"), "all recordings are in the catalogue")
        print(f"\n  catalogue   {len(known)} recordings; {json.dumps(rejected, ensure_ascii=False)}\n")
        programme = programme.known_as({recording.track.track_id: known[recording.track.title].track_id for recording in programme.recordings})
        _put(s3, bucket, "check/evening.m4a", (out / "stream.m4a").read_bytes())
        evening = _until(stand, partial(_beside, s3, bucket, "check/evening.m4a"), "what is in the file lies beside it")
        s3.delete_object(Bucket=bucket, Key=f"catalogue/{gone.file.name}")
        print(f"  deleted     s3://{bucket}/catalogue/{gone.file.name}", flush=True)
        left = _until(stand, lambda: _stocked(stand, of=len(programme.recordings) - 1), "the deleted one has left the catalogue")
        stand.save(bucket, out / "s3")
        findings = judge(programme, evening["plays"], summary={"state": "ended", "end_reason": evening["outcome"], "coverage": evening["coverage"]})
        removed = Finding(ok=gone.track.title not in left, text=f"{gone.track.title} was deleted, and is in the catalogue no more")
        return _verdict([*findings, removed], out)


# ------------------------------------------------------------------------------------------------ what they share


@contextmanager
def _stand(out: Path, *left: str) -> Iterator[Stand]:
    prepare(out, left)
    with ExitStack() as stack:
        stack.enter_context(terminated_as_interrupted())
        yield Stand(stack, out=out)


def _composed(stand: Stand) -> Programme:
    folder = stand.folder()
    say("music", "composing twelve pieces and something to say over them")
    programme = programmes.generated(folder)
    write_m4a(stand.out / "stream.m4a", programme.samples)
    return programme


def _disordered(count: int) -> list[int]:
    """As notifications may come: neighbours changed places, one comes twice; the first and the last stay where they are."""
    order = list(range(count))
    for n in range(2, count - 2, 4):
        order[n], order[n + 1] = order[n + 1], order[n]
    return [*order[:-1], order[1], order[-1]]


def _published(stand: Stand) -> dict[str, Any] | None:
    """The stream's documents, once it has ended and the last of them, its report, is there."""
    s3, bucket = stand.aws.client("s3"), stand.deployed.results_bucket
    keys = [listed["Key"] for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    summary = next((_document(s3, bucket, key) for key in keys if key.endswith("/stream.json")), None)
    if summary is None or summary["state"] != "ended" or not any(key.endswith("/report.html") for key in keys):
        return None
    hits = [_document(s3, bucket, key) for key in keys if "/hits/" in key]
    return {"summary": summary, "hits": hits} if all(hit["state"] == "closed" for hit in hits) else None


def _put(s3: Any, bucket: str, key: str, data: bytes) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=data)
    print(f"  put         s3://{bucket}/{key}", flush=True)


def _stocked(stand: Stand, *, of: int, beside: str = "") -> dict[str, Track] | None:
    """The catalogue's recordings by title, once there are so many; and one is described as its sidecar says."""
    with postgres.open_pool(Database(dsn=SecretStr(stand.dsn)), application_name="earmark-demo") as pool:
        tracks = {track.title: track for track in Tracks(pool=pool).all()}
    there = len(tracks) == of and (not beside or any(track.rights_holder == beside for track in tracks.values()))
    return tracks if there else None


def _read(s3: Any, bucket: str, key: str) -> Mapping[str, Any] | None:
    there = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    return _document(s3, bucket, key) if any(listed["Key"] == key for listed in there) else None


def _beside(s3: Any, bucket: str, key: str) -> Mapping[str, Any] | None:
    """What was found in a file, once both documents lie beside it."""
    keys = {listed["Key"] for listed in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])}
    return _document(s3, bucket, f"{key}.earmark.json") if {f"{key}.earmark.json", f"{key}.earmark.html"} <= keys else None


def _document(s3: Any, bucket: str, key: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return document


def _until(stand: Stand, there: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while (found := there()) is None:
        stand.worker.check()
        if time.monotonic() > deadline:
            raise EarmarkError(f"not within {LIMIT_S:.0f} s: {what}; see {stand.out / LOG}")
        time.sleep(0.2)
    return found


def _verdict(findings: Sequence[Finding], out: Path) -> int:
    print("\nThe truth, and what is on record:")
    for finding in findings:
        print(f"  {finding}")
    ok = all(finding.ok for finding in findings)
    print(f"\n{'All of it is as it was.' if ok else f'NOT as it was: see the lines marked WRONG, and {out / LOG}'}")
    print(f"\nLeft for you: {out / 's3'}, what the buckets held; {out / LOG}, the daemon's own lines")
    return 0 if ok else 1
