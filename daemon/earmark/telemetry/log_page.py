"""The lines of the log as people read about them: README's table of those that matter, and docs/log-lines.md with all of them."""

from collections.abc import Iterable, Mapping
from typing import Final

from earmark.telemetry.events import EVENTS, Event

LEVELS: Final[Mapping[str, str]] = {
    "debug": 'nobody, but whoever looks for a fault; written only with `log.level = "debug"`',
    "info": "nobody: it went as it should",
    "warning": "whoever sees it keep coming: something failed, and is tried again, gone without, or put right",
    "error": "somebody, now: something was given up or put aside, or there is a bug",
}

#: Of every line; then of every line about a stream; then of what stands for others.
ALWAYS: Final[Mapping[str, str]] = {
    "event": "a noun and what happened to it: one of those below",
    "level": "one of those above",
    "timestamp": "UTC, RFC 3339 with `Z`",
    "stream_id": "which stream it is about; absent where it is about none",
    "trace_id": "of a stream: the id of the EventBridge event that told of it first, or one that its row made; the same in its hits, its `stream.json` and its messages",
    "fencing": "of a session: the token of its lease, which each new owner raises",
    "alone": "of a session: true where it is heard in a process of its own",
    "exception": "of a bug: the traceback",
    "logger": "of a library's line: who wrote it; its event is what it said",
    "repeated": "how many lines this one stands for, itself included (`log.repeats_max`)",
    "repeated_since": "when the first of them came",
}

FIELDS: Final[Mapping[str, str]] = {
    "address": "from where it was asked",
    "after_s": "seconds that it was waited for",
    "age_s": "seconds since the event's own time",
    "alias_of": "the recording under whose id it is told",
    "alone": "whether it is heard in a process of its own",
    "attempts": "how often it was tried, this time included",
    "away_s": "seconds without the station",
    "base": "what the names of a run's files begin with",
    "begun": "whether it had begun to hear",
    "bucket": "an S3 bucket",
    "changed": "objects with other bytes than before",
    "channel_arn": "the channel of IVS or MediaLive",
    "claimed_s": "seconds of the round until a worker listened",
    "dead": "whether it was given up",
    "detail_type": "what EventBridge calls the event",
    "duration_s": "seconds of media",
    "ended_s": "seconds of the round until the session's end was on record",
    "error": "what went wrong, one sentence",
    "event_id": "EventBridge's id of the event that this line is about; a stream's first is its `trace_id`",
    "exitcode": "how the process ended; below zero: of which signal",
    "failure": "what could not be decoded: a word",
    "failures": "how often in a row",
    "files": "how many",
    "first": "the first of them",
    "gap_s": "seconds of media that were not heard",
    "gaps": "how many",
    "gone": "objects that are not there any more",
    "heard_s": "seconds of media that were heard",
    "hit_id": "the hit",
    "hit_s": "seconds of the round until the hit was in S3",
    "host": "of the origin, or where the port is open; never the whole address, which may hold a right to hear it",
    "instead": "what is heard instead",
    "job": "which kind of work",
    "key": "of an object in S3; of a message to SNS: the hit",
    "kind": "which kind of event, or of action",
    "last": "the last number of what is missing",
    "latency_s": "seconds from the recording's first sound to its hit",
    "loop": "which part of the worker",
    "message_id": "SQS's",
    "missed_s": "seconds of media that were not heard",
    "name": "of a stream that is always wanted",
    "new": "objects that were not there before",
    "objects": "how many",
    "of": "how many there are",
    "others": "workers that would take more, this one not counted",
    "outcome": "what became of it",
    "overlap_known": "whether what the station sent again was found",
    "pages": "of a listing",
    "parent": "the stream whose gaps these are",
    "path": "what was asked for",
    "pid": "of the process",
    "place": "s3://bucket/prefix",
    "port": "where it listens",
    "position_s": "seconds of stream time from which on it is heard",
    "postings": "how many",
    "problem": "which kind of refusal",
    "protected": "whether it was to be kept from being ended",
    "reason": "why: one sentence; of a stream's end and of missed media one word, as in `stream.json`",
    "reasons": "how many there are",
    "received_bytes": "bytes of the request",
    "rendition": "what was chosen, for people",
    "result": "heard, or at which stage it ended",
    "revision": "of the hit or document",
    "roles": "what this worker does",
    "round_id": "of the canary's round",
    "route": "by its template",
    "rows": "how many",
    "says": "one sentence",
    "score_nats": "evidence, in nats",
    "seconds": "seconds that it took",
    "segments": "how many",
    "sent_bytes": "bytes of the answer",
    "sequence": "EXT-X-MEDIA-SEQUENCE",
    "sessions": "how many run here",
    "since_s": "seconds since the object was written",
    "source": "kind of stream",
    "stale": "whether it is older than `queue.stale_event_s`",
    "state": "of the play, or of the action",
    "status": "of HTTP",
    "stood_by_s": "seconds",
    "stream_ids": "of one recording, which may be of several streams",
    "streams": "how many",
    "sweep": "which one",
    "target": "s3, sns or check",
    "token": "the name of the API's token",
    "took_ms": "milliseconds",
    "took_s": "seconds",
    "track_id": "the recording",
    "tracks": "recordings in the catalogue",
    "uploads": "how many; of `api.listening`: whether they are taken",
    "url": "of the object",
    "waited_s": "seconds",
    "what": "which part of it",
    "why": "why, one sentence, where `reason` is a word",
    "withheld": "alerts of this hour that were not sent",
    "words": "whether the station says what is on air",
    "worker": "its name",
    "written_s": "seconds of the round until the hit was on record",
}  # fmt: skip


def as_markdown() -> str:
    """README's table: what an operator should know by sight."""
    lines = ["| Line | Level | Says | Fields |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(_row(event) for event in EVENTS if event.matters)]) + "\n"


def as_page() -> str:
    """docs/log-lines.md, whole."""
    return "\n".join(
        [
            "# The log, line by line",
            "",
            "One line for each thing that happened, JSON to a pipe and words on a terminal, all to standard error. Made from the code by `make config`;",
            "what a line says is in `daemon/earmark/telemetry/events.py`, and a test holds it to what is written.",
            "",
            "| Level | Who has to care |",
            "| --- | --- |",
            *_pairs(LEVELS),
            "",
            "**In a storm** the same event about the same stream is written `log.repeats_max` times a minute; what comes beyond that is counted, and one line",
            "a minute says how often (`repeated`), with what the last of them said. What has a traceback is written each time, and so is what is marked `each`",
            "below: work that was done, and no failure. All lines that were written and all `repeated` add up to what happened.",
            "",
            "## Fields of every line",
            "",
            "| Field | Says |",
            "| --- | --- |",
            *_pairs(ALWAYS),
            "",
            "## Lines",
            "",
            "| Line | Level | Says | Fields |",
            "| --- | --- | --- | --- |",
            *(_row(event, each=True) for event in EVENTS),
            "",
            "## Fields of some",
            "",
            "| Field | Says |",
            "| --- | --- |",
            *_pairs(FIELDS),
            "",
        ]
    )


def _pairs(of: Mapping[str, str]) -> Iterable[str]:
    return (f"| `{name}` | {says} |" for name, says in of.items())


def _row(event: Event, *, each: bool = False) -> str:
    fields = ", ".join("rows by table" if name == "*" else f"`{name}`" for name in event.fields.split())
    marked = " (each)" if each and event.each else ""
    return f"| `{event.name}` | {' or '.join(event.levels.split())}{marked} | {event.says} | {fields} |"
