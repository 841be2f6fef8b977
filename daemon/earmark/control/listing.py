"""Who listens to what, for people: `earmark streams list`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from earmark.control import registry
from earmark.control.overview import Wanted
from earmark.control.static import named_twice, source_of
from earmark.cost import Cost, of_stream
from earmark.model import Checkpoint
from earmark.postgres import Connection, Pool, statement
from earmark.reserved import is_canary
from earmark.settings import Prices, StaticStream, without_secrets

#: The newest so many; a terminal shows no more.
ROWS_MAX = 1_000
#: That have not ended.
ALL = Wanted()


@dataclass(frozen=True, kw_only=True)
class Listed:
    #: Empty: a stream that is always wanted, and of which no session is on.
    stream_id: str
    source: str
    #: wanted, running, ended, quarantined; idle: always wanted, and no session is on; stopped: it was added, and is wanted no more.
    state: str
    owner: str
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str
    #: Seconds since the session last put something on record; None before it did.
    heard_s_ago: float | None
    heard_s: float
    gap_s: float
    #: track_ids of the plays that are open now.
    playing: tuple[str, ...]
    last_error: str
    #: What was chosen among the renditions; empty before it was.
    rendition: str
    #: US$ an hour while somebody listens, by what is on record now; else None.
    cost_usd_per_hour: Cost | None
    #: Of a stream that is always wanted: its name, its address without what gives the right to hear it, and who wants it:
    #: "settings", "added", or empty for any other stream, and for one that nobody wants any more.
    name: str = ""
    url: str = ""
    wanted_by: str = ""
    #: It is the canary's: nothing of it is anybody's.
    canary: bool = False
    #: As in its log lines and hits; empty where no session is on.
    trace_id: str = ""


def streams(pool: Pool, *, prices: Prices, static: Sequence[StaticStream] = (), wanted: Wanted = ALL) -> list[Listed]:
    """Newest first; then `static` and added ones that nobody hears, unless only streams of some state are `wanted`.

    Raises DatabaseUnavailable.
    """
    ended, all_states = wanted.ended, not wanted.which
    with statement(pool) as connection:
        always = _always_wanted(connection, static)
        rows = connection.execute(_ROWS.replace("{condition}", wanted.condition()).encode(), {"channel": wanted.channel, "rows": ROWS_MAX}).fetchall()
        on = connection.execute("select distinct channel_name from stream where source in ('hls', 'radio') and state <> 'ended'").fetchall()
        heard = {name for (name,) in on}
        asked = {name: one for name, one in always.items() if all_states and wanted.channel.lower() in name.lower()}
        idle = [(name, one) for name, one in asked.items() if name not in heard and (one.by or ended)]
        return [*(_listed(row, prices, always) for row in rows), *(_idle(connection, name, one) for name, one in idle)]


#: What a stream costs depends on how many there are beside it, whether they are asked for or not.
_ROWS = """
with beside as materialized (select owner, count(*) as streams from stream where owner is not null group by owner)
select stream_id, source, state, coalesce(owner, ''), started_at, ended_at, coalesce(end_reason, ''),
       extract(epoch from now() - heard_at)::float8, checkpoint::text, last_error,
       coalesce((select streams from beside where beside.owner = stream.owner), 0)::int, (select coalesce(sum(streams), 0) from beside)::int,
       case when source in ('hls', 'radio') then channel_name else '' end, case when source in ('hls', 'radio') then url end, coalesce(trace_id, '')
  from stream where {condition} order by created_at desc limit %(rows)s"""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A stream that is always wanted, and by whom."""

    stream: StaticStream
    #: As `Listed.wanted_by`.
    by: str
    #: What is wrong with that, for people.
    why: str = ""


def _always_wanted(connection: Connection, static: Sequence[StaticStream]) -> dict[str, _Wanted]:
    """By name; where a name is in the settings and was added, too, the settings' is heard."""
    always = {stream.name: _Wanted(stream=stream, by="settings") for stream in static}
    for one in registry.added(connection):
        name, stopped = one.stream.name, one.stopped_at is not None
        if name not in always:
            always[name] = _Wanted(stream=one.stream, by="" if stopped else "added")
        elif not stopped:
            always[name] = _Wanted(stream=always[name].stream, by="settings", why=named_twice(name))
    return always


def _idle(connection: Connection, name: str, wanted: _Wanted) -> Listed:
    """With what became of its last session."""
    row = connection.execute(
        """
        select coalesce(end_reason, ''), last_error, ended_at from stream
         where channel_name = %s and source in ('hls', 'radio') and state = 'ended' order by ended_at desc limit 1""",
        [name],
    ).fetchone()
    end_reason, last_error, ended_at = row or ("", "", None)
    return Listed(
        stream_id="",
        source=source_of(wanted.stream),
        state="idle" if wanted.by else "stopped",
        owner="",
        started_at=None,
        ended_at=ended_at,
        end_reason=end_reason,
        heard_s_ago=None,
        heard_s=0.0,
        gap_s=0.0,
        playing=(),
        last_error=wanted.why or last_error,
        rendition="",
        cost_usd_per_hour=None,
        name=name,
        url=without_secrets(wanted.stream.url),
        wanted_by=wanted.by,
    )


def _listed(row: Sequence[Any], prices: Prices, always: Mapping[str, _Wanted]) -> Listed:
    stream_id, source, state, owner, started_at, ended_at, end_reason, heard_s_ago, checkpoint_json, last_error, beside, owned, name, url, trace_id = row
    wanted = always.get(name)
    try:
        checkpoint = Checkpoint.from_json(checkpoint_json) if checkpoint_json else Checkpoint()
    except ValueError:  # by another version of Earmark: its row's last_error says so
        checkpoint = Checkpoint()
    return Listed(
        stream_id=stream_id,
        source=source,
        state=state,
        owner=owner,
        started_at=started_at,
        ended_at=ended_at,
        end_reason=end_reason,
        heard_s_ago=heard_s_ago,
        heard_s=checkpoint.heard_s,
        gap_s=checkpoint.gap_s,
        playing=tuple(play.track_id for play in checkpoint.plays),
        last_error=last_error or checkpoint.last_error or (wanted.why if wanted else ""),
        rendition=checkpoint.rendition,
        cost_usd_per_hour=of_stream(prices, source=source, rendition=checkpoint.rendition, beside=beside, streams=owned)
        if owner and not is_canary(stream_id)
        else None,
        name=name,
        url=without_secrets(url) if url else "",
        wanted_by=wanted.by if wanted else "",
        canary=is_canary(stream_id),
        trace_id=trace_id,
    )
