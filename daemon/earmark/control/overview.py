"""The fleet and its streams at a glance, trouble first: what `earmark streams list --watch` asks for every few seconds.

One statement a look. What is wrong with a stream is told by columns of its row alone, so that ten thousand rows are sorted
without reading their checkpoints; those of the few rows that are shown are read for what is played and how much was heard.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from earmark.postgres import Pool, statement

#: Of one look; a terminal shows fewer.
ROWS_MAX: Final = 1_000
WORKERS_MAX: Final = 1_000
#: A stream that nobody listens to for so long, or of which nothing went on record for so long, is in trouble.
WAITS_S, SILENT_S = 15, 60

#: What can be asked for: the states of a stream's row, and those that are in trouble, in whatever state.
Which: TypeAlias = Literal["wanted", "running", "quarantined", "ended", "trouble"]
#: What is wrong, the worst last; the place is its number.
TROUBLES: Final = ("", "failed before", "silent", "waits", "fails", "lost", "quarantined")


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    name: str
    #: Streams that it listens to, by its own word.
    sessions: int
    #: It would take more.
    room: bool
    seen_s_ago: float
    #: It was not seen within a lease's time.
    gone: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    stream_id: str
    trace_id: str
    source: str
    channel_name: str
    channel_arn: str
    state: str
    #: One of TROUBLES.
    trouble: str
    owner: str
    #: Seconds since the session last put something on record; None before it did.
    heard_s_ago: float | None
    #: Seconds that what was heard last is behind the wall clock; None where the stream has no clock of its own.
    lag_s: float | None
    #: Seconds until it is tried again, or since when it waits: by `trouble`.
    waits_s: float
    position_s: float
    heard_s: float
    #: What is played now: its title, or its id; the newest of several.
    playing: str
    plays: int
    last_error: str
    failures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    at: datetime
    workers: tuple[Worker, ...]
    workers_in_all: int
    #: Of all streams that were asked for, by state.
    states: Mapping[str, int]
    #: Those in trouble.
    troubled: int
    oldest_wait_s: float
    rows: tuple[Row, ...]

    @property
    def streams(self) -> int:
        return sum(self.states.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which streams are looked at."""

    #: None: all but those that have ended.
    which: Collection[Which] = ()
    #: A part of the channel's ARN or name; empty: any.
    channel: str = ""
    ended: bool = False

    def condition(self) -> str:
        """SQL about a row of `stream`, with the parameter `channel`."""
        parts = ["true"] if self.ended or "ended" in self.which else ["state <> 'ended'"]
        if self.which:
            states = ", ".join(f"'{which}'" for which in self.which if which != "trouble")
            parts.append(f"({f'state in ({states})' if states else 'false'}{f' or {TROUBLE} > 0' if 'trouble' in self.which else ''})")
        if self.channel:
            parts.append("position(lower(%(channel)s) in lower(coalesce(channel_arn, '') || ' ' || channel_name)) > 0")
        return " and ".join(parts)


#: The place in TROUBLES, from columns that lie in the row itself.
TROUBLE: Final = f"""(case
    when state = 'ended' then 0
    when state = 'quarantined' then 6
    when owner is not null and lease_until < now() then 5
    when owner is null and failures > 0 then 4
    when owner is null and wanted_at is not null and greatest(wanted_at, not_before) < now() - interval '{WAITS_S} s' then 3
    when owner is not null and coalesce(heard_at, claimed_at) < now() - interval '{SILENT_S} s' then 2
    when failures > 0 then 1
    else 0 end)"""


def look(pool: Pool, wanted: Wanted, *, rows_max: int, ttl_s: float) -> Overview:
    """How it is now. Raises DatabaseUnavailable.

    Args:
        rows_max: streams to tell of, ROWS_MAX at most; the others are counted.
        ttl_s: `leases.ttl_s`.
    """
    parameters = {"channel": wanted.channel, "rows": max(0, min(rows_max, ROWS_MAX)), "ttl_s": ttl_s, "workers": WORKERS_MAX}
    with statement(pool) as connection:
        rows = connection.execute(_LOOK.replace("{trouble}", TROUBLE).replace("{condition}", wanted.condition()).encode(), parameters).fetchall()
    at, states, troubled, oldest_wait_s, workers, workers_in_all = rows[0][:6]
    return Overview(
        at=at,
        workers=tuple(Worker(**worker) for worker in workers or ()),
        workers_in_all=workers_in_all,
        states=states or {},
        troubled=troubled,
        oldest_wait_s=oldest_wait_s,
        rows=tuple(_row(row[6:]) for row in rows if row[6] is not None),
    )


def _row(columns: tuple[Any, ...]) -> Row:
    stream_id, trace_id, source, channel_name, channel_arn, state, trouble, owner, heard_s_ago, lag_s, waits_s, *rest = columns
    position_s, heard_s, playing, plays, last_error, failures = rest
    return Row(
        stream_id=stream_id,
        trace_id=trace_id,
        source=source,
        channel_name=channel_name,
        channel_arn=channel_arn,
        state=state,
        trouble=TROUBLES[trouble],
        owner=owner,
        heard_s_ago=heard_s_ago,
        lag_s=lag_s,
        waits_s=waits_s,
        position_s=position_s,
        heard_s=heard_s,
        playing=playing,
        plays=plays,
        last_error=last_error,
        failures=failures,
    )


_LOOK: Final = """
with concerned as materialized (
  select stream_id, state, heard_at, created_at, {trouble} as trouble,
         case when owner is null and state = 'wanted' and not_before <= now() then now() - greatest(wanted_at, not_before) end as waits
    from stream where {condition}),
top as (
  select stream_id, trouble, heard_at, created_at from concerned order by trouble desc, heard_at nulls last, created_at desc, stream_id limit %(rows)s),
told as (
  select (select jsonb_object_agg(state, streams) from (select state, count(*) as streams from concerned group by state) by_state) as states,
         (select count(*)::int from concerned where trouble > 0) as troubled,
         (select coalesce(extract(epoch from max(waits)), 0)::float8 from concerned) as oldest_wait_s,
         (select jsonb_agg(jsonb_build_object('name', worker, 'sessions', sessions, 'room', room, 'gone', gone, 'seen_s_ago', seen_s_ago))
            from (select worker, sessions, room, seen_at < now() - make_interval(secs => %(ttl_s)s) as gone,
                         extract(epoch from now() - seen_at)::float8 as seen_s_ago
                    from worker order by gone desc, sessions desc, worker limit %(workers)s) fleet) as workers,
         (select count(*)::int from worker) as workers_in_all)
select now(), told.states, told.troubled, told.oldest_wait_s, told.workers, told.workers_in_all,
       s.stream_id, coalesce(s.trace_id, ''), s.source, s.channel_name, coalesce(s.channel_arn, ''), s.state, top.trouble, coalesce(s.owner, ''),
       extract(epoch from now() - s.heard_at)::float8,
       case when s.checkpoint->>'clock_source' = 'program_date_time' and s.checkpoint->>'clock' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}'
            then extract(epoch from now() - (s.checkpoint->>'clock')::timestamptz)::float8 end,
       coalesce(abs(extract(epoch from now() - greatest(s.wanted_at, s.not_before))), 0)::float8,
       coalesce((s.checkpoint->>'position_s')::float8, 0), coalesce((s.checkpoint->>'heard_s')::float8, 0),
       coalesce(playing.title, ''), coalesce(playing.plays, 0),
       coalesce(nullif(s.last_error, ''), s.checkpoint->>'last_error', ''), s.failures
  from told
  left join top on true
  left join stream s on s.stream_id = top.stream_id
  left join lateral (
       select coalesce(nullif(concat_ws(' – ', nullif(array_to_string(t.artists, ', '), ''), nullif(t.title, '')), ''), play->>'track_id') as title,
              count(*) over ()::int as plays
         from jsonb_path_query(s.checkpoint, '$.plays[*]') play left join track t on t.track_id = play->>'track_id'
        order by play->>'state' = 'open' desc, (play->>'begin_s')::float8 desc limit 1) playing on true
 order by top.trouble desc, top.heard_at nulls last, top.created_at desc, top.stream_id"""
