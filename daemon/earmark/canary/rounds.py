"""Rounds of the canary on record: who runs one, how it went. One at a time in the whole fleet.

All times are the database's. A round has an end by which it is over, whatever becomes of its runner: who begins the next
one finds it abandoned. A clock that was set back, so that a round seems to begin in the future, holds nobody up either.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from earmark.postgres import Connection, Pool, statement, transaction
from earmark.reserved import CANARY_RECORDING

#: Of these the stages a round comes through; the columns are called so, with `_s`.
Stage: TypeAlias = Literal["written", "claimed", "heard", "hit", "ended"]
STAGES: Final[tuple[Stage, ...]] = ("written", "claimed", "heard", "hit", "ended")
#: How a round ended. A closed list: it is a metric label.
Result: TypeAlias = Literal["heard", "wrong", "unwritten", "unclaimed", "unheard", "unrecognised", "unpublished", "unfinished", "abandoned", "failed"]

KEPT_DAYS: Final = 30
#: Beyond a round's deadline, for its runner to clear away what it made.
CLEARING_S: Final = 90.0
#: A round that began so much later than now is one of another clock.
_AHEAD_S: Final = 60
_LOCK: Final = 0x656172_63616E6172


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a round went. `stages_s`: seconds since it began, of those that it came to."""

    result: Result
    #: One sentence, for people.
    says: str
    stages_s: Mapping[Stage, float] = field(default_factory=dict)
    latency_s: float | None = None
    score_nats: float | None = None

    @property
    def heard(self) -> bool:
        return self.result == "heard"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderWay:
    """Somebody else's round."""

    round_id: str
    runner: str
    age_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What metrics say of the record; see `telemetry.canary_metrics`."""

    success_age_s: float = 0.0
    rounds: Mapping[str, int] = field(default_factory=dict)
    latency_s: float = 0.0
    score_nats: float = 0.0
    stages_s: Mapping[str, float] = field(default_factory=dict)
    #: Of the canary, in the catalogue.
    recordings: int = 0


def begin(pool: Pool, *, runner: str, deadline_s: float, every_s: float = 0.0) -> str | UnderWay | None:
    """The id of a new round; somebody else's that is under way; or None: the last one began less than `every_s` ago.

    Raises DatabaseUnavailable.
    """
    with transaction(pool) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(_ABANDON, {"ahead_s": _AHEAD_S})
        under_way = connection.execute(
            "select round_id, runner, extract(epoch from now() - began_at)::float8 from canary_round where ended_at is null"
        ).fetchone()
        if under_way:
            round_id, by, age_s = under_way
            return UnderWay(round_id=round_id, runner=by, age_s=max(0.0, age_s))
        if every_s and _due_in_s(connection, every_s) > 0:
            return None
        connection.execute("delete from canary_round where began_at < now() - make_interval(days => %s)", [KEPT_DAYS])
        round_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        connection.execute(
            "insert into canary_round (round_id, runner, until) values (%s, %s, now() + make_interval(secs => %s))",
            [round_id, runner, deadline_s + CLEARING_S],
        )
    return round_id


def finish(pool: Pool, round_id: str, outcome: Outcome) -> bool:
    """False if somebody has found it abandoned meanwhile. Raises DatabaseUnavailable."""
    columns = {f"{stage}_s": outcome.stages_s.get(stage) for stage in STAGES}
    about = {"round_id": round_id, "result": outcome.result, "says": outcome.says[:1_000], "latency_s": outcome.latency_s, "score_nats": outcome.score_nats}
    with transaction(pool) as connection:
        return connection.execute(_FINISH, {**about, **columns}).rowcount == 1


def due_in_s(pool: Pool, every_s: float) -> float:
    """Seconds until the next round may begin; 0 or less: now. Raises DatabaseUnavailable."""
    with statement(pool) as connection:
        return _due_in_s(connection, every_s)


def seen(pool: Pool) -> Seen:
    """Raises DatabaseUnavailable."""
    with statement(pool) as connection:
        rounds = dict(connection.execute(_OF_A_DAY).fetchall())
        ((recordings,),) = connection.execute("select count(*)::int from track where track_id = %s", [CANARY_RECORDING]).fetchall()
        row = connection.execute(_LAST).fetchone()
    first_age_s, success_age_s, latency_s, score_nats, *stages_s = row or (0.0, None, None, None)
    if success_age_s is None:
        return Seen(success_age_s=max(0.0, first_age_s), rounds=rounds, recordings=recordings)
    return Seen(
        success_age_s=max(0.0, success_age_s),
        rounds=rounds,
        latency_s=latency_s or 0.0,
        score_nats=score_nats or 0.0,
        stages_s={stage: seconds for stage, seconds in zip(STAGES, stages_s, strict=True) if seconds is not None},
        recordings=recordings,
    )


def _due_in_s(connection: Connection, every_s: float) -> float:
    row = connection.execute(
        """
        select %(every_s)s - extract(epoch from now() - max(began_at))::float8 from canary_round
         where began_at < now() + make_interval(secs => %(ahead_s)s)""",
        {"every_s": every_s, "ahead_s": _AHEAD_S},
    ).fetchone()
    return float(row[0]) if row and row[0] is not None else 0.0


_ABANDON = """
update canary_round set ended_at = now(), result = 'abandoned', says = 'its runner, ' || runner || ', did not come to its end'
 where ended_at is null and (until < now() or began_at > now() + make_interval(secs => %(ahead_s)s))"""

_FINISH = """
update canary_round
   set ended_at = now(), result = %(result)s, says = %(says)s, latency_s = %(latency_s)s, score_nats = %(score_nats)s,
       written_s = %(written_s)s, claimed_s = %(claimed_s)s, heard_s = %(heard_s)s, hit_s = %(hit_s)s, ended_s = %(ended_s)s
 where round_id = %(round_id)s and ended_at is null"""

_OF_A_DAY = """
select result, count(*)::int from canary_round where began_at > now() - interval '1 day' and result is not null group by result"""

_LAST = """
select extract(epoch from now() - first.began_at)::float8, extract(epoch from now() - last.ended_at)::float8,
       last.latency_s, last.score_nats, last.written_s, last.claimed_s, last.heard_s, last.hit_s, last.ended_s
  from (select began_at from canary_round order by began_at limit 1) first
  left join (select * from canary_round where result = 'heard' order by began_at desc limit 1) last on true"""
