"""What proves a hit: the document beside it in S3, and the same drawn for a terminal.

`{stream_id}/evidence/{hit_id}.json` is written with the hit, under its revision, and holds what its best window looked like. A hit
that was taken over by another worker keeps the evidence it has until that worker hears better; so its revision may be older than
the hit's, never newer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from earmark.errors import BadSettings
from earmark.hits.record import Document
from earmark.hits.sure import sure_in_words
from earmark.hits.text import called, cleaned, clock_time, one_line, rounded, speed_change
from earmark.model import EIGHTHS, FINGERPRINT_VERSION, FRAMES_PER_S, Explanation, Play
from earmark.postgres import Connection

SCHEMA_VERSION = 1

#: The drawing: columns of a bar chart, its rows of eighths, and columns of the strip that shows when peaks matched.
_COLUMNS, _ROWS, _STRIP = 77, 8, 64
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def evidence_document(*, stream_id: str, play: Play, explanation: Explanation, fingerprint_version: int = FINGERPRINT_VERSION) -> Document:
    """Evidence v1, as in `config/schema/evidence.v1.json`: some 8 kB for 12 s of music, at most 35."""
    found = explanation
    return {
        "schema_version": SCHEMA_VERSION,
        "hit_id": play.hit_id,
        "revision": play.revision,
        "state": play.state,
        **cleaned({"stream_id": stream_id, "track_id": play.track_id, **({"heard_as": play.heard_as.track_id} if play.heard_as else {})}),
        "fingerprint_version": fingerprint_version,
        "query": {"begin_s": rounded(found.begin_s), "end_s": rounded(found.end_s)},
        "line": {"speed": rounded(found.speed, 6), "pitch_cents": rounded(found.pitch_cents, 1), "offset_s": rounded(found.offset_s, 4)},
        "score": {
            "evidence_nats": rounded(found.evidence_nats, 1),
            "second_nats": rounded(found.second_nats, 1),
            "share_explained": rounded(found.share, 4),
            "threshold_nats": rounded(found.threshold_nats, 1),
        },
        "peaks": {"heard": found.heard_n, "stored": found.stored_n, "matched": found.matched_n, "listed": len(found.stream_ms)},
        "histogram": {
            "first_offset_frames": rounded(-(len(found.coincidences) // 2) * found.cell_frames),
            "cell_frames": rounded(found.cell_frames),
            "guard_frames": rounded(found.guard_frames),
            "frames_per_s": FRAMES_PER_S,
            "tolerance": "narrow" if found.narrow else "wide",
            "coincidences": found.coincidences.tolist(),
        },
        "matched": {
            "stream_s": [ms / 1_000 for ms in found.stream_ms.tolist()],
            "frequency_hz": [eighth / EIGHTHS for eighth in found.eighth_hz.tolist()],
            "reference_s": [ms / 1_000 for ms in found.reference_ms.tolist()],
        },
        "others": {
            "stream_s": [ms / 1_000 for ms in found.others[:, 0].tolist()],
            "frequency_hz": [eighth / EIGHTHS for eighth in found.others[:, 1].tolist()],
        },
    }


def load(connection: Connection, hit_id: str) -> tuple[Document, Document]:
    """A hit in its newest revision, and its evidence. Raises BadSettings where there is none."""
    body = hit(connection, hit_id)
    row = connection.execute("select evidence from play where hit_id = %s", [hit_id]).fetchone()
    if row is None or row[0] is None:
        raise BadSettings(f"nothing was kept that explains the hit {hit_id}: it was told by a version of Earmark that did not keep it")
    return body, row[0]


def hit(connection: Connection, hit_id: str) -> Document:
    """A hit in its newest revision. Raises BadSettings where there is none."""
    row = connection.execute("select body from play where hit_id = %s", [hit_id]).fetchone()
    if row is None:
        raise BadSettings(f"there is no hit {one_line(hit_id)!r} in the database: `earmark report STREAM --format json` lists those of a stream")
    body: Document = row[0]
    return body


# ------------------------------------------------------------------------------------------------ for a terminal


def text(hit: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """What was heard, how sure that is, and the histogram as bars."""
    return "\n".join([*_summary(hit, evidence), "", *_bars(evidence["histogram"]), "", *_strip(evidence)]) + "\n"


def _summary(hit: Mapping[str, Any], evidence: Mapping[str, Any]) -> list[str]:
    track, line, score, peaks, query = hit["track"], evidence["line"], evidence["score"], evidence["peaks"], evidence["query"]
    said = called(track["artists"], track["title"])
    name = f"{one_line(said, 60)} ({one_line(evidence['track_id'], 60)})" if said else one_line(evidence["track_id"])
    alias = f", in its alias {one_line(evidence['heard_as'], 60)}" if "heard_as" in evidence else ""
    stream = one_line(hit["stream"]["channel_name"] or hit["stream"]["id"])
    state = hit["state"] + (", a quotation" if hit["quotation"] else "")
    older = f"; explained as of revision {evidence['revision']}" if evidence["revision"] != hit["revision"] else ""
    place = f"{'alias' if alias else 'recording'} second = {line['speed']:.5f} x stream second {line['offset_s']:+.3f}"
    listed = f", {peaks['listed']} of them kept" if peaks["listed"] < peaks["matched"] else ""
    worth = f"{score['evidence_nats']:.1f} nats where {score['threshold_nats']:.1f} were asked for"
    return [
        f"Hit        {hit['hit_id']} revision {hit['revision']}, {state}{older}",
        f"Recording  {name}{alias}",
        f"Stream     {stream} ({one_line(hit['stream']['id'])}), {_span(hit['query'])}",
        f"Window     {_span(query)} of the stream: none has markedly more evidence",
        f"Line       {place} (speed {speed_change(line['speed'])}, pitch {line['pitch_cents']:+.1f} cents)",
        f"Evidence   {worth}; for this very second {score['second_nats']:.1f}; {score['share_explained']:.0%} of the peaks explained",
        f"How sure   {sure_in_words(hit['score']['false_alarms_per_hour'])}",
        f"Peaks      {peaks['heard']} heard, {peaks['stored']} in the recording, {peaks['matched']} on the line{listed}",
    ]


def _span(query: Mapping[str, float]) -> str:
    return f"{clock_time(query['begin_s'])}-{clock_time(query['end_s'])} ({query['begin_s']:.1f}-{query['end_s']:.1f} s)"


def _bars(histogram: Mapping[str, Any]) -> list[str]:
    """The coincidences by distance from the line; neighbouring cells share a column, which is as high as the highest."""
    counts, half = histogram["coincidences"], len(histogram["coincidences"]) // 2
    shared = -(-len(counts) // _COLUMNS)
    # The line's own column holds its cell alone.
    left = [max(counts[max(0, end - shared) : end]) for end in range(half, 0, -shared)][::-1]
    right = [max(counts[begin : begin + shared]) for begin in range(half + 1, len(counts), shared)]
    heights = [*left, counts[half], *right]
    highest = max(*heights, 1)
    cell_s = histogram["cell_frames"] / histogram["frames_per_s"]
    edge_s = abs(histogram["first_offset_frames"]) / histogram["frames_per_s"]
    begin, end = f"-{edge_s:.2f} s", f"+{edge_s:.2f} s"
    lines = [f"Coincidences by distance from the line, in cells of {1_000 * cell_s:.0f} ms (highest: {highest})"]
    lines += ["  " + "".join(_block(height / highest * _ROWS - row) for height in heights).rstrip() for row in reversed(range(_ROWS))]
    middle = "on the line".center(2 * len(left) + 1 - len(begin) - len(end))
    return [*lines, f"  {begin}{middle}{end}"]


def _strip(evidence: Mapping[str, Any]) -> list[str]:
    """When in the window peaks lay on the line: a quoted sample is one block, a recording is everywhere."""
    query, matched = evidence["query"], evidence["matched"]["stream_s"]
    counts, _ = np.histogram(matched, bins=_STRIP, range=(query["begin_s"], max(query["end_s"], query["begin_s"] + 1e-3)))
    highest = max(int(counts.max()), 1)
    begin, end = f"{query['begin_s']:.1f} s", f"{query['end_s']:.1f} s"
    strip = "".join(_block(height / highest) for height in counts.tolist())
    return ["Matched peaks through the window", "  " + strip.rstrip(), f"  {begin}{end.rjust(_STRIP - len(begin))}"]


def _block(share: float) -> str:
    """A column's piece in one row: full, some eighths, or empty; what is there at all is seen."""
    eighths = min(max(share, 0.0), 1.0) * 8
    return _EIGHTHS[max(1, round(eighths)) if eighths > 0 else 0]
