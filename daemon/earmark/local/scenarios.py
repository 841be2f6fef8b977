"""`earmark demo --scenario`: the other ways in. Archive files of MediaLive, stored files, and a catalogue that is a bucket.

As in `earmark.local.demo` the daemon knows nothing of what is in them, and what it put on record is compared with the truth at the end.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError
from earmark.local import programme as programmes
from earmark.local.archiving import archive_files
from earmark.local.aws import ACCOUNT, REGION
from earmark.local.programme import Programme
from earmark.local.stand import LOG, Stand, prepare, say, terminated_as_interrupted, write_m4a
from earmark.local.verdict import Finding, judge

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
        channel_arn = _channel(stand, f"s3ssl://{stand.deployed.archive_bucket}/channel-7/concert-$dt$")
        stand.start(medialive__end_grace_s="2")
        say("ready", f"after {stand.took_s:.0f} s; the channel writes {len(files)} files of {FILE_S:.0f} s\n")
        stand.aws.put_medialive_event(channel_arn, "RUNNING")
        began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        s3 = stand.aws.client("s3")
        for number in _disordered(len(files)):
            key = f"channel-7/concert-{began}.{number:06d}.ts"
            s3.put_object(Bucket=stand.deployed.archive_bucket, Key=key, Body=files[number])
            print(f"  put         s3://{stand.deployed.archive_bucket}/{key}", flush=True)
            time.sleep(PUT_EVERY_S)
        stand.aws.put_medialive_event(channel_arn, "IDLE")
        documents = _until(stand, lambda: _published(stand), "the run is over and its report is in S3")
        stand.save(stand.deployed.results_bucket, out / "s3")
        return _verdict(judge(programme, documents["hits"], summary=documents["summary"]), out)


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


def _channel(stand: Stand, url: str) -> str:
    """A channel whose archive output group writes to `url`; its ARN."""
    group = {"OutputGroupSettings": {"ArchiveGroupSettings": {"Destination": {"DestinationRefId": "archive"}, "RolloverInterval": FILE_S}}, "Outputs": []}
    settings = {"AudioDescriptions": [], "VideoDescriptions": [], "OutputGroups": [group], "TimecodeConfig": {"Source": "EMBEDDED"}}
    destination = {"Id": "archive", "Settings": [{"Url": url}]}
    made = stand.aws.client("medialive").create_channel(Name="concert", Destinations=[destination], EncoderSettings=settings)
    # The stand-in's own ARN lacks region and account; the event carries one as AWS writes it.
    return f"arn:aws:medialive:{REGION}:{ACCOUNT}:channel:{made['Channel']['Id']}"


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
