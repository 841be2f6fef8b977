"""Stream: one stream's timeline. All of it comes from PostgreSQL: no metric knows streams by name."""

from dashboard_panels import HIT_LINK, PLAIN, S3_LINK, Row, Shown, column, lines, sql, stat, table, timeline, values

#: The stream that was chosen. Its key is letters, digits, dots, dashes and tildes, whatever its id is made of.
CHOSEN = "stream_id = (select stream_id from earmark_v_streams where stream_key = '$stream' limit 1)"
#: What the variable offers: streams that are on, and those that were within the time range.
OFFERED = """
select stream_key as __value, case when channel_name = '' then stream_id else channel_name || ' · ' || stream_id end as __text
  from earmark_v_streams
 where (state <> 'ended' or (state = 'ended' and ended_at >= $__timeFrom())) and not canary
 order by known_at desc limit 1000"""
#: Of a day of an origin that fails every other segment the newest are drawn.
_ROWS_MAX = 2000


def _newest(query: str) -> str:
    """Of the rows of a query, in order of time."""
    return f"select * from ({query.strip()}\n order by time desc limit {_ROWS_MAX}) newest where time is not null order by time"


_COVERAGE = _newest(f"""
with of as (select * from earmark_v_coverage where {CHOSEN})
select greatest(began_at, $__timeFrom()::timestamptz) as time, reason as media from of where ended_at > $__timeFrom() and began_at < $__timeTo()
union all (select max(ended_at), null from of)""")
_MUSIC = _newest(f"""
with of as (select * from earmark_v_music where {CHOSEN} and ended_at > $__timeFrom() and began_at < $__timeTo())
select greatest(began_at, $__timeFrom()::timestamptz) as time, 'music' as sounds from of
union all select ended_at, 'no music' from of where ended_at < $__timeTo()
union all (select max(ended_at), null from earmark_v_coverage where {CHOSEN})""")
_WORKER = _newest(f"""
with of as (
  select at, nullif(worker, '') as worker, lead(at, 1, 'infinity') over (order by at) as until_at from earmark_v_events
   where {CHOSEN} and kind in ('claimed', 'takeover', 'handover', 'restart', 'quarantine', 'ended'))
select greatest(at, $__timeFrom()::timestamptz) as time, worker from of where until_at > $__timeFrom() and at < $__timeTo()""")
#: Several may be on at once: at each moment at which one begins or ends, what is on from there.
_PLAYS = f"""
with of as (
  select called, began_at, ended_at from earmark_v_plays
   where {CHOSEN} and ended_at > $__timeFrom() and began_at < $__timeTo() order by began_at desc limit 500),
moment as (select greatest(began_at, $__timeFrom()::timestamptz) as at from of union select ended_at from of where ended_at < $__timeTo())
select at as time, (select string_agg(called, ' + ' order by began_at) from of where began_at <= moment.at and ended_at > moment.at) as plays
  from moment order by at"""
_LAG = _newest(f"select at as time, lag_s as value, measured as metric from earmark_v_lag where {CHOSEN} and $__timeFilter(at)")
_GAPS = _newest(f"""
select began_at as time, length_s as value, reason as metric from earmark_v_coverage where {CHOSEN} and not heard and $__timeFilter(began_at)""")
_PLAYED = f"""
select began_at, ended_at, called, rights_holder, action, dry_run, state, evidence_nats, false_alarms_per_hour, speed_ratio, transform, latency_s, length_s,
       track_id, hit_id, trace_id, s3_bucket, s3_key
  from earmark_v_plays where {CHOSEN} and began_at < $__timeTo() and ended_at > $__timeFrom() order by began_at desc limit 500"""
_MISSED = f"""
select began_at, length_s, reason, begin_s, end_s from earmark_v_coverage
 where {CHOSEN} and not heard and began_at < $__timeTo() and ended_at > $__timeFrom() order by began_at desc limit 500"""
_HAPPENED = f"select at, kind, said, worker, worker_before from earmark_v_events where {CHOSEN} and $__timeFilter(at) order by at desc limit 500"
_ABOUT = f"""
select stream_id, stream_key, channel_name, source, started_at, ended_at, end_reason, rendition, playing, last_error, trace_id, s3_bucket, s3_prefix
  from earmark_v_streams where {CHOSEN}"""

#: Why seconds were not heard: what is ours to mend is red, what the source did is orange or yellow.
_REASONS = {
    "heard": ("heard", "green"),
    "late": ("late: we were too slow", "red"),
    "worker_lost": ("no worker", "red"),
    "database_away": ("database away", "red"),
    "origin_down": ("origin down", "orange"),
    "segment_missing": ("segment missing", "orange"),
    "segment_undecodable": ("not decodable", "yellow"),
    "segment_refused": ("refused", "yellow"),
    "skipped": ("skipped by the playlist", "yellow"),
    "discontinuity": ("encoder's clock jumped", "blue"),
}
_ACTIONS = {
    "block": ("block", "red"),
    "takedown": ("takedown", "red"),
    "mute": ("mute", "orange"),
    "warn": ("warn", "yellow"),
    "monetize": ("monetize", "blue"),
    "track": ("track", "blue"),
    "allow": ("allow", "green"),
}
_STATES = {"running": ("heard", "green"), "wanted": ("waits for a worker", "orange"), "quarantined": ("quarantined", "orange"), "ended": ("over", "blue")}


def _one(title: str, of: str, *, w: int = 3, says: str, unit: str = "short", text: bool = False, **rest: object) -> Shown:
    """A column of the stream's row."""
    return stat(
        title,
        sql(f"select {of} from earmark_v_streams where {CHOSEN}"),
        unit="string" if text else unit,
        says=says,
        w=w,
        idle="not known",
        field_name="/.*/" if text else "",
        **rest,  # type: ignore[arg-type]
    )


_NOW = (
    _one("State", "state", text=True, mappings=values(_STATES), says="As it is on record now, whatever the time range."),
    _one("Listened to by", "coalesce(worker, 'nobody') as worker", w=5, text=True, says="The worker that has its lease now."),
    _one(
        "Behind",
        "lag_s",
        unit="s",
        steps=((None, "green"), (30, "orange"), (60, "red")),
        section="alert-fallingbehind",
        says="Seconds from the wall clock of its last sample to that being on record. HLS is 4 to 20 s behind by design, an archive by a file.",
    ),
    _one(
        "Silent for",
        "silent_s",
        unit="s",
        steps=((None, "green"), (60, "orange"), (300, "red")),
        section="alert-sourcesfail",
        says="Seconds since something of it was put on record, while it is heard. A minute and more: its origin delivers nothing, or its worker stands still.",
    ),
    _one(
        "Heard",
        "heard_ratio",
        unit="percentunit",
        decimals=2,
        steps=((None, "red"), (0.99, "orange"), (0.999, "green")),
        section="alert-coverageburns",
        says="Of all its media seconds up to now, the share that was heard. Why not the rest: below.",
    ),
    _one("Plays so far", "plays", w=2, says="Plays on record, from its first second on."),
    _one("Changed hands", "greatest(claims - 1, 0) as claims", w=2, says="How often another worker took it, or the same one again, since it began."),
    _one("Music", "music_s", w=3, unit="s", says="Seconds heard that sounded like music, catalogued or not."),
)
_ABOUT_IT = table(
    "About it",
    sql(_ABOUT),
    column("stream_id", "Stream", links=[S3_LINK], width=260),
    column("channel_name", "Channel"),
    column("source", "Source", width=90),
    column("started_at", "Began", width=165),
    column("ended_at", "Over", width=165),
    column("end_reason", "Why", width=100),
    column("rendition", "Rendition"),
    column("playing", "Plays now"),
    column("last_error", "Last error"),
    column("trace_id", "In the logs"),
    *(column(name, hidden=True) for name in ("stream_key", "s3_bucket", "s3_prefix")),
    says="What is on record of it. A click on the id leads to its results in S3 (stream.json, hits; at the end cue sheet and report). In the logs: what "
    "all of its lines have.",
    idle="no such stream: choose one above",
    h=4,
)
_TIMELINES = (
    timeline(
        "Heard, or why not; what it sounds like; who listens",
        sql(_COVERAGE),
        sql(_MUSIC),
        sql(_WORKER),
        says="Media: every second is heard, or has a reason why not. Sounds: music, catalogued or not; what is neither that nor a gap is speech, sound or "
        "silence. Worker: who had its lease; a new one without a deploy is a takeover.",
        colours={**_REASONS, "music": ("music", "purple"), "no music": ("speech, other, silence", "super-light-purple")},
        section="alert-sourcesfail",
        h=7,
    ),
    timeline("Plays", sql(_PLAYS), says="What of the catalogue was on, from when to when; a plus where several were at once.", colours={}, section="", h=5),
)
_OVER_TIME = (
    lines(
        "Behind its own clock",
        sql(_LAG, form="time_series"),
        unit="s",
        steps=((None, "green"), (60, "orange")),
        says="Seconds by which it was behind, each time that something of it went on record: kept, every 262 s; hit, when a play was told; now. A streak of "
        "dots that rises: its worker is too slow, or the origin late.",
        w=12,
        h=7,
        points=True,
        section="alert-fallingbehind",
    ),
    lines(
        "Gaps",
        sql(_GAPS, form="time_series"),
        unit="s",
        steps=PLAIN,
        says="Seconds that were not heard, each gap at its beginning, by reason.",
        w=12,
        h=7,
        bars=True,
        section="alert-sourcesfail",
    ),
)
_LISTS = (
    table(
        "Plays, newest first",
        sql(_PLAYED),
        column("began_at", "From", width=165),
        column("ended_at", "To", width=165),
        column("called", "Recording", links=[HIT_LINK]),
        column("rights_holder", "Rights holder"),
        column("action", "Action", width=90, mappings=values(_ACTIONS)),
        column("dry_run", "Only said", width=80),
        column("state", "State", width=85),
        column("evidence_nats", "Evidence, nats", unit="none", width=110, decimals=1),
        column("false_alarms_per_hour", "False alarms an hour", width=140, unit="sci"),
        column("speed_ratio", "Speed", unit="none", width=75, decimals=3),
        column("transform", "Played"),
        column("latency_s", "Told after", unit="s", width=90),
        column("length_s", "Length", unit="dtdurations", width=90),
        column("track_id", "Recording's id"),
        column("trace_id", "In the logs"),
        *(column(name, hidden=True) for name in ("hit_id", "s3_bucket", "s3_key")),
        says="Every play, how sure and how soon it was told. False alarms: in a stream-hour, at that evidence. Speed: 1.03 is played 3 % fast. Only said: "
        "nothing acted on it. A click on the recording opens its hit in S3.",
        section="",
        h=9,
    ),
    table(
        "Gaps, newest first",
        sql(_MISSED),
        column("began_at", "From", width=165),
        column("length_s", "Length", unit="s", width=90),
        column("reason", "Why", mappings=values(_REASONS)),
        column("begin_s", "From, in the stream", unit="dtdurations"),
        column("end_s", "To, in the stream", unit="dtdurations"),
        says="What was not heard, with its reason; together with what was it is all of the stream. `earmark report` has the same.",
        section="alert-sourcesfail",
        w=12,
        h=8,
    ),
    table(
        "What happened, newest first",
        sql(_HAPPENED),
        column("at", "When", width=165),
        column("kind", "What", width=100),
        column("said", "In words"),
        column("worker", "Worker"),
        column("worker_before", "Before it"),
        says="Who took it and from whom, hits, its end. takeover: its worker had not renewed its lease. restart: its session had failed.",
        section="alert-sessionsfail",
        w=12,
        h=8,
    ),
)
ROWS = (Row(shown=(*_NOW, _ABOUT_IT)), Row(shown=_TIMELINES), Row(shown=_OVER_TIME), Row(shown=_LISTS))
