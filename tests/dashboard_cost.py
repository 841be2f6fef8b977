"""Cost & capacity: what does an hour of a stream cost, by what, and when do we need another task?"""

from dashboard_panels import Row, Shown, compute_busy, lines, prom, shares, stat, told

#: US$ an hour, of kinds that belong together.
_COMPUTE, _DATABASE, _VIEWING, _REST = "compute", "database", "viewing", "transfer|requests"


def _usd_per_hour(kinds: str) -> str:
    return f'sum(rate(earmark_cost_usd_total{{kind=~"{kinds}"}}[30m])) * 3600'


_STREAMS = '(sum(avg_over_time(earmark_streams{state="running"}[30m])) > 0)'
_HEARD = 'sum(rate(earmark_media_seconds_total{result="heard"}[30m]))'
_CPU = 'sum(rate(process_cpu_seconds_total[30m]) and on (instance) earmark_streams{state="running"} > 0)'
_ESTIMATE = "An estimate, at the prices in the settings (section prices); the least that a database costs is not in it. "


def _monthly(title: str, kind: str, says: str) -> Shown:
    """What 730 hours of one stream cost, of one kind."""
    return stat(
        title,
        prom(f"{_usd_per_hour(kind)} * 730 / {_STREAMS}"),
        unit="currencyUSD",
        decimals=2,
        idle="nothing streams",
        says=f"US$ for 730 hours of {says} {_ESTIMATE}",
        w=4,
    )


_NOW = (
    stat("An hour costs", prom(_usd_per_hour(".*")), unit="currencyUSD", decimals=3, says=_ESTIMATE + told("earmark_cost_usd_total"), w=4),
    _monthly("A stream for a month", ".*", "one stream, by what all of them cost in the last half hour. Rising while streams go: workers idle."),
    _monthly("of it compute", _COMPUTE, "one stream: tasks, busy or idle. Above a dollar: few streams to a task."),
    _monthly("of it database", _DATABASE, "one stream: what it asks of the database."),
    _monthly("of it IVS viewing", _VIEWING, "one stream: who listens is a viewer. Much: no rendition of sound alone."),
    _monthly("of it transfer, requests", _REST, "one stream: through a NAT gateway, and S3."),
    stat("Tasks", prom("count(earmark_build_info)"), says="Processes that report, in any role.", idle="nobody reports", w=4),
    stat(
        "Streams a task",
        prom('sum(earmark_streams{state="running"}) / (count(earmark_streams{state="running"} > 0) > 0)'),
        decimals=0,
        idle="nothing streams",
        says="Streams heard, over the processes that hear any.",
        w=4,
    ),
    stat(
        "Busiest task",
        prom("max(earmark_compute_busy_ratio)"),
        unit="percentunit",
        steps=((None, "green"), (0.7, "orange"), (0.9, "red")),
        section="alert-workersaturated",
        w=4,
    ),
    stat(
        "Room for more streams",
        prom(
            "sum(clamp_min(0.7 - avg_over_time(earmark_compute_busy_ratio[10m]), 0) / clamp_min(avg_over_time(earmark_compute_busy_ratio[10m]), 0.01)"
            ' * on (instance) (earmark_streams{state="running"} > 0))'
        ),
        decimals=0,
        steps=((None, "orange"), (10, "green")),
        idle="nothing streams",
        says="About so many more of the same kind until the tasks that hear any are busy for seven tenths (leases.busy_share_max), by how busy they were "
        "in ten minutes. Few left, and more to come: add tasks; ECS does so by itself up to capacityMax.",
        section="alert-workersaturated",
        w=4,
    ),
    stat(
        "Waits for a worker",
        prom("max(earmark_streams_unowned_oldest_age_seconds)"),
        unit="s",
        steps=((None, "green"), (30, "orange"), (60, "red")),
        section="alert-streamsunheard",
        w=4,
    ),
    stat(
        "CPU of a stream",
        prom(f"{_CPU} / ({_HEARD} > 0)"),
        unit="percentunit",
        decimals=2,
        idle="nothing streams",
        says="CPU seconds for each second heard, all that the process does included. Streams to a core at 60 % are 0.6 over this.",
        w=4,
    ),
)
_COST = (
    lines(
        "Cost of an hour, by kind",
        prom("sum by (kind) (rate(earmark_cost_usd_total[])) * 3600", "{{kind}}"),
        unit="currencyUSD",
        says=_ESTIMATE + told("earmark_cost_usd_total"),
        stacked=True,
        w=12,
    ),
    lines(
        "A stream for a month",
        prom(f"{_usd_per_hour(_COMPUTE)} * 730 / {_STREAMS}", "compute"),
        prom(f"{_usd_per_hour(_DATABASE)} * 730 / {_STREAMS}", "database"),
        prom(f"{_usd_per_hour(_VIEWING)} * 730 / {_STREAMS}", "IVS viewing"),
        prom(f"{_usd_per_hour(_REST)} * 730 / {_STREAMS}", "transfer and requests"),
        unit="currencyUSD",
        says="US$ for 730 hours of one stream, over half an hour each. " + _ESTIMATE,
        stacked=True,
        w=12,
    ),
    lines("Fetched from origins, in a second", prom("sum(rate(earmark_fetch_bytes_total[]))", "fetched"), unit="Bps"),
    lines("Requests to S3 for recordings, in a second", prom("sum by (operation) (rate(earmark_recording_requests_total[]))", "{{operation}}"), unit="ops"),
    shares(
        "In a day, by kind",
        prom("sum by (kind) (increase(earmark_cost_usd_total[1d]))", "{{kind}}", now=True),
        says="US$ of the last 24 hours. " + _ESTIMATE,
        unit="currencyUSD",
        rows=False,
    ),
)
_CAPACITY = (
    compute_busy(),
    lines(
        "Oldest job of the compute thread",
        prom("earmark_compute_oldest_job_seconds", "{{instance}}"),
        unit="s",
        steps=((None, "green"), (0.5, "orange")),
        section="alert-workersaturated",
    ),
    lines("Streams, by task", prom('earmark_streams{state="running"}', "{{instance}}"), stacked=True),
    lines(
        "CPU, by task",
        prom("rate(process_cpu_seconds_total[]) and on (instance) earmark_build_info", "{{instance}}"),
        unit="percentunit",
        says="Share of one core, of all that the process does.",
    ),
    lines(
        "Memory, by task",
        prom("process_resident_memory_bytes and on (instance) earmark_build_info", "{{instance}}"),
        unit="bytes",
        says="Resident bytes: about 80 MB, and 1.5 MB for each stream.",
    ),
    lines("In the background", prom("earmark_compute_background_ratio", "{{instance}}"), unit="percentunit", max=1),
    lines("Restarts, in an hour", prom("sum(rate(earmark_session_restarts_total[])) * 3600", "sessions restarted"), section="alert-sessionsfail"),
    lines("Leases lost, in an hour", prom("sum(rate(earmark_leases_lost_total[])) * 3600", "lost"), section="alert-leaseslost"),
    lines("Sessions over, in an hour", prom("sum by (outcome) (rate(earmark_sessions_over_total[])) * 3600", "{{outcome}}"), section="alert-sessionsfail"),
    lines(
        "Left alone by ECS",
        prom("sum(earmark_task_protected)", "protected tasks"),
        prom("sum by (result) (rate(earmark_task_protection_total[])) * 3600", "calls in an hour: {{result}}"),
    ),
)
_SOURCES = (
    lines(
        "Request to an origin",
        prom("histogram_quantile(0.99, sum by (le) (rate(earmark_fetch_seconds_bucket[])))", "p99"),
        unit="s",
        section="alert-sourcesfail",
    ),
    lines("Not decoded, in a minute", prom("sum by (reason) (rate(earmark_decode_errors_total[])) * 60", "{{reason}}"), section="alert-sourcesfail"),
    lines(
        "Behind the sources' clocks, p95",
        prom("histogram_quantile(0.95, sum by (le) (rate(earmark_clock_lag_seconds_bucket[])))", "p95"),
        unit="s",
        section="alert-sourceslate",
    ),
    lines("Stored files checked, in a minute", prom("sum by (outcome) (rate(earmark_check_files_total[])) * 60", "{{outcome}}")),
    lines("Stored files found by a sweep, in an hour", prom("sum(rate(earmark_check_files_found_total[])) * 3600", "found")),
    lines("Sound of stored files, of each second", prom("sum by (result) (rate(earmark_check_media_seconds_total[]))", "{{result}}"), unit="s"),
    lines("Stored files waiting", prom("max(earmark_check_files_waiting)", "files")),
    lines("Oldest stored file waiting", prom("max(earmark_check_oldest_age_seconds)", "oldest"), unit="s"),
    lines("Read of stored files, in a second", prom("sum(rate(earmark_check_bytes_total[]))", "read"), unit="Bps"),
    lines("Sound of recordings, of each second", prom("sum by (of) (rate(earmark_recording_seconds_total[]))", "{{of}}"), unit="s"),
    lines("Recordings that did not come, in an hour", prom("sum(increase(earmark_recordings_absent_total[1h]))", "absent")),
)
ROWS = (
    Row(shown=_NOW),
    Row(title="Cost", shown=_COST),
    Row(title="Capacity: when do we need another task?", shown=_CAPACITY),
    Row(title="Sources, stored files, recordings", closed=True, shown=_SOURCES),
)
