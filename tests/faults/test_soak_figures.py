"""A run's table: a broken bar is one, and what is behind it is said; a worker that grows is seen to grow."""

from dataclasses import replace
from typing import Any

import pytest

from faults import memory
from faults.circumstances import Circumstances
from faults.crash_points import POINTS
from faults.evidence import Evidence, GapSeen, Message, StreamRow
from faults.fleet import Entry
from faults.memory import Sample
from faults.programme import Aired, listed_from
from faults.table import broken, figures

ASKED = Circumstances(seed=1, minutes=10)
STREAM = StreamRow(stream_id="st-1", state="ended", position_s=60, heard_s=60)
AIRED = Aired(stream_id="st-1", channel_arn="arn", begin=0, duration_s=60, parts=())
ENOUGH = tuple(Entry(at=float(number), deed="crashed", worker=f"w{number}", what=list(POINTS)[number % len(POINTS)]) for number in range(14 * len(POINTS)))
RIGHT = Evidence(
    aired=(AIRED,), streams={"st-1": STREAM}, diary=ENOUGH, messages=[Message(hit_id=f"h{n}", revision=1, state="open", digest=f"{n}") for n in range(200)]
)


def missed(evidence: Evidence, *, faults: int = 1_000, asked: Circumstances = ASKED) -> list[str]:
    return [row["figure"] for row in broken(figures(evidence, asked, faults=faults, command="make soak")[0])]


def test_a_right_run_meets_every_bar() -> None:
    assert missed(RIGHT) == []


def test_too_few_kills_or_faults_break_a_whole_run_and_not_a_short_one() -> None:
    few = replace(RIGHT, diary=ENOUGH[:20])
    assert missed(few, faults=10) == ["SIGKILLs", "crash point hit least often", "faults injected by the proxies"]
    assert missed(few, faults=10, asked=replace(ASKED, minutes=2)) == []


@pytest.mark.parametrize(
    "changed, figure",
    [
        ({"streams": {}}, "hits lost"),
        ({"streams": {"st-1": replace(STREAM, heard_s=50)}}, "media seconds unaccounted for"),
        ({"streams": {"st-1": replace(STREAM, state="quarantined")}}, "streams in quarantine without being poisonous"),
        ({"messages": [*RIGHT.messages, *RIGHT.messages[:3]]}, "SNS messages repeated, share of all"),
        ({"messages": [*RIGHT.messages, replace(RIGHT.messages[0], digest="else")]}, "two different messages for one revision"),
        ({"diary": (*ENOUGH, Entry(at=0, deed="failed", worker="w1", what="signal 11"))}, "workers that ended by themselves"),
    ],
)
def test_what_is_wrong_breaks_its_bar_and_is_said(changed: dict[str, Any], figure: str) -> None:
    evidence = replace(RIGHT, **changed)
    assert missed(evidence) == [figure]
    wrong = figures(evidence, ASKED, faults=1_000, command="")[1]
    assert wrong or figure == "SNS messages repeated, share of all"


def test_gaps_with_a_reason_are_told_and_break_nothing() -> None:
    evidence = replace(RIGHT, streams={"st-1": replace(STREAM, heard_s=50, gaps=(GapSeen(begin_s=20, end_s=30, reason="worker_lost"),))})
    assert missed(evidence) == []
    (row,) = [row for row in figures(evidence, ASKED, faults=1_000, command="")[0] if row["figure"].startswith("media seconds in gaps")]
    assert (row["value"], row["against"]) == (10, "worker_lost 10 s")


def samples(*, mb_per_h: float = 0.0, threads_more: int = 0) -> list[Sample]:
    """Of an hour, every minute; streams come and go."""
    return [
        Sample(at_s=60.0 * n, resident_mb=200 + mb_per_h * n / 60 + n % 3, threads=60 + n % 5 + threads_more * n // 60, handles=100 + n % 7, connections=9)
        for n in range(60)
    ]


def test_a_worker_that_grows_is_seen_to() -> None:
    assert broken(memory.rows(samples(), streams=500, command="")) == []
    assert [row["figure"] for row in broken(memory.rows(samples(mb_per_h=3), streams=500, command=""))] == ["resident memory growth per hour"]
    assert [row["figure"] for row in broken(memory.rows(samples(threads_more=30), streams=500, command=""))] == [
        "threads: most in the last third, less the first"
    ]
    assert memory.growth_per_h([0, 1800, 3600], [10, 11, 12]) == pytest.approx(2)


def test_where_a_playlist_begins() -> None:
    assert listed_from(b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:2\n#EXTINF:2,\n00002.ts\n", [0, 2, 4.1, 6.2]) == 4.1
    assert listed_from(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na/media.m3u8\n", [0, 2]) is None
