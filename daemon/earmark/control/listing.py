"""Who listens to what, for people: `earmark streams list`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from earmark.cost import Cost, of_stream
from earmark.model import Checkpoint
from earmark.postgres import Pool, statement
from earmark.settings import Prices

#: The newest so many; a terminal shows no more.
ROWS_MAX = 1_000


@dataclass(frozen=True, kw_only=True)
class Listed:
    stream_id: str
    source: str
    #: wanted, running, ended, quarantined.
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


def streams(pool: Pool, *, prices: Prices, ended: bool = False) -> list[Listed]:
    """Newest first; `ended` ones too, or only those that still concern somebody. Raises DatabaseUnavailable."""
    with statement(pool) as connection:
        rows = connection.execute(
            """
            select stream_id, source, state, coalesce(owner, ''), started_at, ended_at, coalesce(end_reason, ''),
                   extract(epoch from now() - heard_at)::float8, checkpoint::text, last_error,
                   count(owner) over (partition by owner), count(owner) over ()
              from stream where state <> 'ended' or %s order by created_at desc limit %s""",
            [ended, ROWS_MAX],
        ).fetchall()
    return [_listed(row, prices) for row in rows]


def _listed(row: Sequence[Any], prices: Prices) -> Listed:
    stream_id, source, state, owner, started_at, ended_at, end_reason, heard_s_ago, checkpoint_json, last_error, beside, owned = row
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
        last_error=last_error or checkpoint.last_error,
        rendition=checkpoint.rendition,
        cost_usd_per_hour=of_stream(prices, source=source, rendition=checkpoint.rendition, beside=beside, streams=owned) if owner else None,
    )
