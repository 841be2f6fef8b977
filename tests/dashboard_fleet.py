"""Fleet: is everything heard, and does it leave? One screen, for whoever was woken up. From the top: what to look at first."""

from dashboard_panels import S3_LINK, STREAM_LINK, Row, column, compute_busy, heat, lines, prom, sql, stat, table, told, values

_GOOD, _WORRYING, _BAD = "green", "orange", "red"
#: The streams that somebody should look at come first.
_WORST = """
select stream_id, stream_key, channel_name, state, worker, unowned_s, silent_s, lag_s, heard_ratio, playing, last_error, s3_bucket, s3_prefix
  from earmark_v_streams
 where state <> 'ended' and not canary
 order by state = 'quarantined' desc, greatest(coalesce(unowned_s, 0), coalesce(silent_s, 0), coalesce(lag_s, 0)) desc, known_at
 limit 50"""

_NOW = (
    stat(
        "Streams heard",
        prom('sum(earmark_streams{state="running"})'),
        says="Sessions running now, in all processes that report.",
        idle="nobody reports",
        idle_colour=_BAD,
        section="alert-nobodylistens",
        h=3,
    ),
    stat(
        "Waits for a worker",
        prom("max(earmark_streams_unowned_oldest_age_seconds)"),
        unit="s",
        steps=((None, _GOOD), (30, _WORRYING), (60, _BAD)),
        section="alert-streamsunheard",
        h=3,
    ),
    stat(
        "Coverage",
        prom('sum(rate(earmark_media_seconds_total{result="heard"}[5m])) / (sum(rate(earmark_media_seconds_total[5m])) > 0)'),
        unit="percentunit",
        steps=((None, _BAD), (0.99, _WORRYING), (0.999, _GOOD)),
        says="Share of the media seconds of the last five minutes that were heard. What is missing is below, by reason. " + told("earmark_media_seconds_total"),
        idle="nothing streams",
        section="alert-coverageburns",
        decimals=2,
        h=3,
    ),
    stat(
        "Lag, p95",
        prom("histogram_quantile(0.95, sum by (le) (rate(earmark_lag_seconds_bucket[5m]))) and on () (sum(rate(earmark_lag_seconds_count[5m])) > 0)"),
        unit="s",
        steps=((None, _GOOD), (1, _WORRYING), (4, _BAD)),
        idle="nothing streams",
        section="alert-fallingbehind",
        h=3,
    ),
    stat(
        "Oldest unsent",
        prom("max(earmark_outbox_oldest_age_seconds)"),
        unit="s",
        steps=((None, _GOOD), (30, _WORRYING), (120, _BAD)),
        section="alert-hitslate",
        h=3,
    ),
    stat(
        "Database",
        prom("min(earmark_database_up)"),
        steps=((None, _BAD), (1, _GOOD)),
        mappings=values({"0": ("away", _BAD), "1": ("there", _GOOD)}),
        idle="nobody says",
        section="alert-databaseaway",
        h=3,
    ),
    stat(
        "Canary heard",
        prom("max(earmark_canary_last_success_age_seconds)"),
        unit="s",
        steps=((None, _GOOD), (1200, _WORRYING), (1800, _BAD)),
        mappings=values({"0": ("no canary", "blue")}),
        idle="no canary",
        section="alert-canaryunheard",
        h=3,
    ),
    stat(
        "Alerts are read",
        prom('max(sum by (instance) (earmark_alert_subscriptions{state="confirmed"}))'),
        steps=((None, _WORRYING), (1, _GOOD)),
        idle="not known",
        section="alert-nobodyistold",
        h=3,
    ),
)
_BESIDES = (
    stat("Workers", prom("count(earmark_build_info)"), idle="nobody reports", idle_colour=_BAD, says="Processes that report, in any role.", h=3),
    stat(
        "Busiest worker",
        prom("max(earmark_compute_busy_ratio)"),
        unit="percentunit",
        steps=((None, _GOOD), (0.7, _WORRYING), (0.9, _BAD)),
        section="alert-workersaturated",
        h=3,
    ),
    stat(
        "Behind the source, p95",
        prom(
            "histogram_quantile(0.95, sum by (le) (rate(earmark_clock_lag_seconds_bucket[5m]))) and on () (sum(rate(earmark_clock_lag_seconds_count[5m])) > 0)"
        ),
        unit="s",
        steps=((None, _GOOD), (30, _WORRYING), (60, _BAD)),
        idle="no clock",
        section="alert-sourceslate",
        h=3,
    ),
    stat(
        "Plays in an hour",
        prom('sum(increase(earmark_hits_total{state="open"}[1h]))'),
        decimals=0,
        says="Plays that were told as open. " + told("earmark_hits_total"),
        h=3,
    ),
    stat(
        "Given up",
        prom("max(earmark_outbox_dead)"),
        steps=((None, _GOOD), (1, _WORRYING)),
        section="alert-hitssetaside",
        h=3,
    ),
    stat(
        "In quarantine",
        prom('max(earmark_streams{state="quarantined"})'),
        steps=((None, _GOOD), (1, _WORRYING)),
        says="Streams set aside because they killed the process that heard them alone; `earmark streams release` ends it. " + told("earmark_streams"),
        section="alert-streamsquarantined",
        h=3,
    ),
    stat(
        "Queue last read",
        prom("max(earmark_queue_read_age_seconds)"),
        unit="s",
        steps=((None, _GOOD), (80, _WORRYING), (300, _BAD)),
        section="alert-queuenotread",
        h=3,
    ),
    stat(
        "Budget burns",
        prom("earmark:coverage_error:ratio_rate1h / 0.001"),
        decimals=1,
        steps=((None, _GOOD), (1, _WORRYING), (14.4, _BAD)),
        says="How many times as fast as it may, by the last hour, what was promised is used up: we may lose a thousandth of what is live. At 1 it lasts "
        "a month, at 14.4 two days. It is recorded by config/prometheus/recording.yml.",
        idle="nothing streams",
        section="alert-coverageburns",
        h=3,
    ),
)
_LINES = (
    lines(
        "Streams by state",
        prom('sum(earmark_streams{state="running"})', "running"),
        prom('max by (state) (earmark_streams{state=~"wanted_unowned|quarantined"})', "{{state}}"),
        section="alert-streamsunheard",
        h=6,
    ),
    lines(
        "Not heard, by reason",
        prom('sum by (result) (rate(earmark_media_seconds_total{result!="heard"}[]))', "{{result}}"),
        unit="s",
        says="Media seconds lost in each second, of all streams. " + told("earmark_media_seconds_total"),
        stacked=True,
        section="alert-coverageburns",
        h=6,
    ),
    heat("From a segment in hand to heard", "earmark_lag_seconds", section="alert-fallingbehind", h=6),
    lines(
        "Plays put on record, in an hour",
        prom("sum by (state) (rate(earmark_hits_total[])) * 3600", "{{state}}"),
        h=6,
    ),
    lines(
        "Decided and not sent",
        prom("max(earmark_outbox_pending)", "waiting"),
        prom("max(earmark_outbox_dead)", "given up"),
        section="alert-hitslate",
        h=6,
    ),
    compute_busy(h=6),
)
_LOOK = (
    table(
        "Streams, those to look at first",
        sql(_WORST),
        column("stream_id", "Stream", links=[STREAM_LINK, S3_LINK], width=220),
        column("channel_name", "Channel"),
        column(
            "state",
            "State",
            width=95,
            mappings=values({"quarantined": ("quarantined", "orange"), "wanted": ("waits", "yellow"), "running": ("heard", "green")}),
        ),
        column("worker", "Worker"),
        column("unowned_s", "Waits", unit="s", steps=((None, "text"), (30, "orange"), (60, "red")), width=75),
        column("silent_s", "Silent", unit="s", steps=((None, "text"), (60, "orange"), (300, "red")), width=75),
        column("lag_s", "Lag", unit="s", steps=((None, "text"), (60, "orange")), width=75),
        column("heard_ratio", "Heard", unit="percentunit", steps=((None, "orange"), (0.999, "text")), width=85),
        column("playing", "Plays now"),
        column("last_error", "Last error"),
        *(column(name, hidden=True) for name in ("stream_key", "s3_bucket", "s3_prefix")),
        says="Not over yet: the fifty of them that are set aside, wait, are silent or behind most. Waits: wanted, and nobody listens. Silent: nothing of "
        "it went on record for so long. Lag: behind its own clock. A click on a stream shows it alone.",
        idle="no streams now",
        w=17,
        h=7,
    ),
    table(
        "What runs",
        prom("earmark_build_info", now=True, form="table"),
        column("instance", "Process"),
        column("version", "Version", width=90),
        column("roles", "Roles"),
        *(column(name, hidden=True) for name in ("Time", "__name__", "job", "Value", "python", "fingerprint_version")),
        says="Each process that reports, its version and roles. Two versions for longer than a deployment takes: look at the service's events.",
        idle="nobody reports",
        section="alert-versionsmixed",
        w=7,
        h=7,
    ),
)
ROWS = (Row(shown=_NOW), Row(shown=_BESIDES), Row(shown=_LINES), Row(shown=_LOOK))
