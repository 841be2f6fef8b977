"""What a run leaves behind, gathered as `Evidence`: from PostgreSQL, from S3, from the topic's subscriber, from what the proxies saw."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from earmark.local.aws import AwsStandIn, Deployment
from faults import diary_of_rows
from faults.diary_of_rows import OutboxSeen, PlaySeen, StreamSeen
from faults.evidence import Evidence, GapSeen, Listing, Message, PlayRow, Publish, Put, StreamRow
from faults.fleet import Diary
from faults.http_proxy import Passed
from faults.programme import Aired, Reruns, listed_from


def collect(
    *,
    dsn: str,
    aws: AwsStandIn,
    deployed: Deployment,
    origin: Reruns,
    aws_passed: Sequence[Passed],
    hls_passed: Sequence[Passed],
    aired: Sequence[Aired],
    diary: Diary,
) -> Evidence:
    """After everything has settled; the subscriber's queue is emptied."""
    done = [one for one in aws_passed if one.status == 200]
    return Evidence(
        aired=tuple(aired),
        streams=_streams(dsn),
        plays=_plays(dsn),
        stream_seen=diary_of_rows.read(dsn, StreamSeen),
        play_seen=diary_of_rows.read(dsn, PlaySeen),
        outbox_seen=diary_of_rows.read(dsn, OutboxSeen),
        puts=[_put(one) for one in done if one.way == "s3" and one.method == "PUT"],
        objects=_objects(aws, deployed.results_bucket),
        messages=_messages(aws, deployed.alerts_queue_url),
        digests=[mail.attributes["stream_id"] for mail in aws.mails() if mail.attributes.get("state") == "ended"],
        publishes=[Publish(at=one.at, worker=one.worker, digest=one.digest, told=one.told) for one in done if one.way == "sns"],
        listings=list(_listings(hls_passed, origin.segment_times())),
        diary=tuple(diary.entries),
    )


def _objects(aws: AwsStandIn, bucket: str) -> dict[str, tuple[int, str]]:
    s3 = aws.client("s3")
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            found[entry["Key"]] = (int(answer["Metadata"]["earmark-revision"]), hashlib.sha256(answer["Body"].read()).hexdigest())
    return found


def _messages(aws: AwsStandIn, queue_url: str) -> list[Message]:
    """What the queue that is subscribed to the topic has received."""
    sqs = aws.client("sqs")
    found: list[Message] = []
    while received := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", ()):
        for message in received:
            hit = json.loads(message["Body"])
            digest = hashlib.sha256(message["Body"].encode()).hexdigest()
            found.append(Message(hit_id=hit["hit_id"], revision=hit["revision"], state=hit["state"], digest=digest))
        entries = [{"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]} for place, message in enumerate(received)]
        sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    return found


def _listings(passed: Sequence[Passed], at_s: Mapping[str, Sequence[float]]) -> Iterator[Listing]:
    """Of the media playlists that reached whoever asked."""
    for one in passed:
        stream_id = one.path.lstrip("/").partition("/")[0]
        if one.told and one.status == 200 and stream_id in at_s:
            from_s = listed_from(one.answer, at_s[stream_id])
            if from_s is not None:
                yield Listing(at=one.at, stream_id=stream_id, from_s=from_s)


def _put(one: Passed) -> Put:
    key = urlsplit(one.path).path.lstrip("/").partition("/")[2]
    return Put(at=one.at, worker=one.worker, key=key, revision=int(one.headers["x-amz-meta-earmark-revision"]), digest=one.digest)


def _rows(dsn: str, query: str) -> Sequence[dict[str, Any]]:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def _streams(dsn: str) -> dict[str, StreamRow]:
    found = {}
    for row in _rows(dsn, "select stream_id, state, checkpoint, end_reason, last_error, attempts from stream"):
        checkpoint = row["checkpoint"] or {}
        gaps = tuple(GapSeen(begin_s=gap["begin_s"], end_s=gap["end_s"], reason=gap["reason"]) for gap in checkpoint.get("gaps", ()))
        found[row["stream_id"]] = StreamRow(
            stream_id=row["stream_id"],
            state=row["state"],
            position_s=checkpoint.get("position_s", 0.0),
            heard_s=checkpoint.get("heard_s", 0.0),
            gaps=gaps,
            end_reason=row["end_reason"],
            last_error=row["last_error"],
            attempts=row["attempts"],
        )
    return found


def _plays(dsn: str) -> list[PlayRow]:
    return [PlayRow(**row) for row in _rows(dsn, "select hit_id, stream_id, track_id, revision, state, begin_s, end_s from play order by stream_id, begin_s")]
