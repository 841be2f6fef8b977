"""Which sessions a report across streams is of, one after the other, without holding them all, nor a transaction open meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from earmark.errors import StreamNotFound
from earmark.hits.reports import report
from earmark.hits.reports.portion import Period, Portion
from earmark.hits.reports.report import StreamReport
from earmark.postgres import Connection
from earmark.reserved import CANARY

_ROWS_AT_ONCE = 1_000
#: A session that was cut and the next one are no farther apart; and what goes on in it is heard so soon.
_APART_S, _FIRST_S = 60.0, 30.0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Sessions on air in a period; the canary's are nobody's, and stored files were on no air.

    What was heard of a stream in its recording afterwards is on the stream's own record.
    """

    period: Period
    #: Name or ARN of a channel, or a stream's id; `*` and `?` stand for what they stand for in a shell; empty: all.
    channel: str = ""


def portions(connection: Connection, selection: Selection) -> Iterator[Portion]:
    """In order of time, each as it is on record when its turn comes; what is removed meanwhile is left out.

    The connection is in autocommit mode, so that whoever reads slowly holds back nobody.
    """
    like, cuts = _like(selection.channel), _Cuts()
    values = {"since": selection.period.since, "until": selection.period.until, "like": like, "canary": f"{CANARY}%"}
    with connection.cursor(name="sessions", withhold=True) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(_SESSIONS, values)
        for stream_id, begins_at in cursor:
            try:
                with connection.transaction():  # one state of it, not two
                    whole = report.load(connection, stream_id)
            except StreamNotFound:
                continue
            portion = Portion.of(whole, selection.period, begins_at=begins_at, continued=cuts.continued(whole))
            if portion.end_s > portion.begin_s:
                yield portion


class _Cuts:
    """Sessions without an end are cut at midnight, and what sounds then goes on in the next one under an id of its own."""

    def __init__(self) -> None:
        #: By channel, of its last session: what sounded when it was cut, and when that was.
        self._sounding: dict[str, tuple[datetime, frozenset[str]]] = {}

    def continued(self, whole: StreamReport) -> frozenset[str]:
        """The plays at its begin that sounded when the session before was cut; sessions come in order of time."""
        stream, begins_at, ends_at = whole.stream, whole.timebase.at(0.0), whole.checkpoint.clock
        channel = stream.channel_arn or stream.channel_name
        if begins_at is None or ends_at is None or not channel:
            return frozenset()
        cut_at, sounding = self._sounding.pop(channel, (begins_at, frozenset()))
        if going_on := frozenset(line.track_id for line in whole.plays if line.continues):
            self._sounding[channel] = (ends_at, going_on)
        if abs((begins_at - cut_at).total_seconds()) > _APART_S:
            return frozenset()
        return frozenset(line.hit_id for line in whole.plays if line.track_id in sounding and line.begin_s <= _FIRST_S)


def _like(pattern: str) -> str | None:
    """As SQL has it; nothing for nothing."""
    return pattern.translate({ord("\\"): "\\\\", ord("%"): "\\%", ord("_"): "\\_", ord("*"): "%", ord("?"): "_"}) or None


#: When a session began follows from the clock of its position; without one, from its row.
_SESSIONS = """
select stream_id, begins_at
  from (select s.stream_id, s.channel_name, s.channel_arn, coalesce((s.checkpoint->>'position_s')::float8, 0) as length_s,
               coalesce(earmark_clock(s.checkpoint->>'clock') - make_interval(secs => (s.checkpoint->>'position_s')::float8), s.started_at, s.created_at)
                 as begins_at
          from stream s
         where s.parent is null and s.stream_id not like %(canary)s
           and not exists (select 1 from checked_file f where f.stream_id = s.stream_id)) session
 where length_s > 0
   and (%(until)s::timestamptz is null or begins_at < %(until)s)
   and (%(since)s::timestamptz is null or begins_at + make_interval(secs => length_s) > %(since)s)
   and (%(like)s::text is null or channel_name ilike %(like)s or channel_arn ilike %(like)s or stream_id ilike %(like)s)
 order by begins_at, stream_id
"""
