"""A run's figures beside their bars, as rows of `bench.rows`; and what is behind those that missed theirs."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from bench.rows import row
from faults import audit, successions
from faults.circumstances import Circumstances
from faults.crash_points import POINTS
from faults.evidence import Evidence, before_first_s
from faults.fleet import BLACK_OUT, Diary

#: A run of so many minutes has to reach the counts, too.
WHOLE_MINUTES = 10.0
KILLS_MIN, HITS_OF_A_POINT_MIN, FAULTS_MIN = 300, 10, 1_000
REPEATED_SHARE_MAX, HANDOVER_GAP_S_MAX = 0.01, 5.0


def figures(evidence: Evidence, asked: Circumstances, *, faults: int, command: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows, and one line for each thing that is wrong."""
    whole = asked.minutes >= WHOLE_MINUTES
    wrong: list[str] = []

    def of(
        figure: str, value: float | None, unit: str, bar: float | None = None, met: Callable[[float, float], bool] = operator.le, **more: Any
    ) -> dict[str, Any]:
        return row(figure, value, unit, bar=bar, met=met, command=command, **more)

    def none_of(figure: str, found: Sequence[str], unit: str) -> dict[str, Any]:
        wrong.extend(f"{figure}: {line}" for line in found)
        return of(figure, len(found), unit, 0)

    diary = Diary(entries=list(evidence.diary))
    points = diary.crashes_by_point()
    seconds_off = audit.unaccounted(evidence)
    wrong += [f"media seconds unaccounted for: {seconds:.3f} s: {why}" for seconds, why in seconds_off]
    repeats, alerts = audit.repeated(evidence), len(evidence.messages)
    # Where no worker is left, nobody can take over.
    lost = successions.takeovers(evidence, [kill for kill in diary.kills if kill.what != BLACK_OUT])
    handed = [gap_s for _, gap_s in successions.handovers(evidence)]
    rows = [
        of("SIGKILLs", len(diary.kills), "kills", KILLS_MIN if whole else None, operator.ge),
        of(
            "crash point hit least often",
            min(points[name] for name in POINTS),
            "kills",
            HITS_OF_A_POINT_MIN if whole else None,
            operator.ge,
            against=f"{len(POINTS)} points",
        ),
        of("faults injected by the proxies", faults, "faults", FAULTS_MIN if whole else None, operator.ge),
        of("workers paused for longer than a lease", len(diary.of("paused")), "pauses"),
        of("streams", len(evidence.aired), "streams"),
        none_of("hits lost", audit.lost_hits(evidence), "hits"),
        none_of("plays with two hit_ids", audit.played_twice(evidence), "plays"),
        none_of("plays of what was not on air", audit.false_hits(evidence), "plays"),
        none_of("S3 objects whose older revision overwrote a newer", audit.overwritten(evidence), "objects"),
        of(
            "SNS messages repeated, share of all",
            repeats / alerts if alerts else None,
            "share",
            REPEATED_SHARE_MAX,
            digits=4,
            against=_against(repeats, alerts, evidence),
        ),
        none_of("two different messages for one revision", audit.differing(evidence), "revisions"),
        of(
            "media seconds unaccounted for",
            sum(seconds for seconds, _ in seconds_off),
            "s",
            0,
            against=f"{sum(r.position_s for r in evidence.streams.values()):.0f} s",
        ),
        of(
            "media seconds in gaps, each with its reason",
            sum(gap.end_s - gap.begin_s for r in evidence.streams.values() for gap in r.gaps),
            "s",
            against=_reasons(evidence),
        ),
        of("media seconds before a stream's first sample heard", before_first_s(evidence), "s"),
        of(
            "takeover after SIGKILL, p95",
            successions.p95([one.seconds for one in lost if one.seconds is not None]),
            "s",
            against=f"lease of {asked.lease_s:g} s, {len(lost)} streams",
        ),
        of("gap caused by SIGTERM with a second worker up, p95", successions.p95(handed), "s", HANDOVER_GAP_S_MAX, against=f"{len(handed)} hand-overs"),
        none_of("writes accepted after the lease was lost", audit.stale_writes(evidence), "writes"),
        of("SNS calls that left late, of paused workers", audit.late_alerts(evidence), "calls"),
        none_of("leases taken before they had run out", audit.stolen(evidence), "leases"),
        none_of("streams in quarantine without being poisonous", audit.quarantined(evidence), "streams"),
        none_of("workers that ended by themselves", [f"{one.worker}: {one.what}" for one in _by_themselves(diary)], "workers"),
    ]
    if asked.poison:
        set_aside = [
            one.stream_id
            for one in evidence.aired
            if one.poisonous and one.stream_id in evidence.streams and evidence.streams[one.stream_id].state == "quarantined"
        ]
        rows.append(of("poisonous streams in quarantine", len(set_aside), "streams", 1, operator.eq))
        rows.append(of("restarts that the poison cost a neighbour, at most", successions.neighbours_restarts_max(evidence), "restarts", 1))
    return rows, wrong


def _by_themselves(diary: Diary) -> list[Any]:
    """A daemon that cannot reach its database when it starts ends, with exit code 1, and is started again: that is no fault of its."""
    return [one for one in diary.of("failed") if one.what != "exit code 1"]


def _against(repeats: int, alerts: int, evidence: Evidence) -> str:
    why = ", ".join(f"{count} {reason}" for reason, count in audit.why_repeated(evidence).most_common())
    return f"{repeats} of {alerts}{f': {why}' if why else ''}"


def _reasons(evidence: Evidence) -> str:
    seconds: dict[str, float] = {}
    for stream in evidence.streams.values():
        for gap in stream.gaps:
            seconds[gap.reason] = seconds.get(gap.reason, 0.0) + gap.end_s - gap.begin_s
    return ", ".join(f"{reason} {total:.0f} s" for reason, total in sorted(seconds.items()))


def broken(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in rows if one["met"] is False]
