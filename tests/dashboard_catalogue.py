"""Catalogue & database: is the database, the queue, the outbox or S3 slow? Does the catalogue keep itself? And the HTTP API."""

from dashboard_panels import Row, heat, lines, prom, quantiles, stat, told, values

_NOW = (
    stat(
        "Database",
        prom("min(earmark_database_up)"),
        steps=((None, "red"), (1, "green")),
        mappings=values({"0": ("away", "red"), "1": ("there", "green")}),
        idle="nobody says",
        section="alert-databaseaway",
    ),
    stat(
        "Look-up, p95",
        prom("histogram_quantile(0.95, sum by (le) (rate(earmark_lookup_seconds_bucket[5m]))) and on () (sum(rate(earmark_lookup_seconds_count[5m])) > 0)"),
        unit="s",
        steps=((None, "green"), (0.25, "orange"), (1, "red")),
        idle="nobody asks",
    ),
    stat("Recordings", prom("max(earmark_catalogue_tracks)"), steps=((None, "orange"), (1, "blue"))),
    stat("On disk", prom("sum(max by (part) (earmark_catalogue_bytes))"), unit="bytes"),
    stat(
        "Behind the catalogue",
        prom("max(earmark_catalogue_followed_age_seconds)"),
        unit="s",
        steps=((None, "green"), (10, "orange"), (60, "red")),
        section="alert-cataloguenotfollowed",
    ),
    stat(
        "Oldest unsent",
        prom("max(earmark_outbox_oldest_age_seconds)"),
        unit="s",
        steps=((None, "green"), (30, "orange"), (120, "red")),
        section="alert-hitslate",
    ),
    stat("Objects waiting", prom("max(earmark_stock_due)"), says=told("earmark_stock_due")),
    stat(
        "Damaged rows, in a day",
        prom("sum(increase(earmark_catalogue_damaged_rows_total[1d]))"),
        steps=((None, "green"), (1, "red")),
        decimals=0,
        says=told("earmark_catalogue_damaged_rows_total"),
    ),
)
_LOOKUPS = (
    heat("Look-up", "earmark_lookup_seconds"),
    lines("The same", *quantiles("earmark_lookup_seconds", 0.5, 0.99), unit="s", steps=((None, "green"), (0.25, "orange"))),
    lines(
        "A look-up's size",
        prom("sum(rate(earmark_lookup_hashes_total[])) / (sum(rate(earmark_lookups_total[])) > 0)", "hashes"),
        prom("sum(rate(earmark_postings_total[])) / (sum(rate(earmark_lookups_total[])) > 0)", "postings"),
        says="Hashes asked for and postings brought back by each. " + told("earmark_lookup_hashes_total", "earmark_postings_total"),
    ),
    lines(
        "Look-ups and turns, in a second",
        prom("sum(rate(earmark_lookups_total[]))", "look-ups"),
        prom("sum(rate(earmark_lookup_turns_total[]))", "turns"),
        unit="ops",
    ),
    lines("Look-ups in one turn", *quantiles("earmark_lookup_turn_questions", 0.5, 0.99)),
    lines(
        "Hashes that are not asked for",
        prom("sum(rate(earmark_lookup_stopped_hashes_total[])) / (sum(rate(earmark_lookup_hashes_total[])) > 0)", "on the stop list"),
        unit="percentunit",
        steps=((None, "green"), (0.25, "orange")),
        says="Share of the hashes looked up that are on the stop list. " + told("earmark_lookup_stopped_hashes_total"),
    ),
    lines(
        "Renewing the leases",
        *quantiles("earmark_lease_renewal_seconds", 0.5, 0.99),
        unit="s",
        steps=((None, "green"), (1, "orange")),
        section="alert-leaseslost",
    ),
    lines(
        "Pages found in memory",
        prom("min(earmark_catalogue_cache_hit_ratio)", "in memory"),
        unit="percentunit",
        max=1,
    ),
    lines(
        "Behind the catalogue",
        prom("max(earmark_catalogue_followed_age_seconds)", "last seen"),
        prom("max(earmark_catalogue_replica_lag_seconds)", "the reader, behind the primary"),
        unit="s",
        section="alert-cataloguenotfollowed",
    ),
)
_OUT = (
    lines(
        "Decided and not sent",
        prom("max(earmark_outbox_pending)", "waiting"),
        prom("max(earmark_outbox_dead)", "given up"),
        section="alert-hitslate",
    ),
    lines(
        "Oldest unsent",
        prom("max(earmark_outbox_oldest_age_seconds)", "oldest"),
        unit="s",
        steps=((None, "green"), (30, "orange")),
        section="alert-hitslate",
    ),
    lines(
        "From decided to sent, p95",
        *quantiles("earmark_publish_delay_seconds", 0.95, by="target"),
        unit="s",
        steps=((None, "green"), (30, "orange")),
        section="alert-alertsburn",
    ),
    lines(
        "Sent, and refused", prom("sum by (target, result) (rate(earmark_published_total[]))", "{{target}} {{result}}"), unit="ops", section="alert-hitslate"
    ),
    lines("Actions about plays, in an hour", prom("sum by (kind, result) (rate(earmark_actions_total[])) * 3600", "{{kind}} {{result}}")),
    lines("Clips beside hits, in an hour", prom("sum by (result) (rate(earmark_evidence_clips_total[])) * 3600", "{{result}}")),
    lines("One attempt to send, p95", *quantiles("earmark_publish_seconds", 0.95, by="target"), unit="s", steps=((None, "green"), (1, "orange"))),
    lines(
        "Who gets the alerts",
        prom("max by (protocol, state) (earmark_alert_subscriptions)", "{{protocol}}, {{state}}"),
        section="alert-nobodyistold",
    ),
    lines("Messages taken, in a minute", prom("sum by (kind) (rate(earmark_queue_messages_total[])) * 60", "{{kind}}"), section="alert-deadletters"),
    lines("What they changed, in a minute", prom("sum by (effect) (rate(earmark_queue_effects_total[])) * 60", "{{effect}}"), section="alert-segmentshomeless"),
    lines("Age of a message when it is taken", *quantiles("earmark_queue_message_age_seconds", 0.5, 0.95), unit="s", section="alert-eventslate"),
    lines("Queue last read", prom("earmark_queue_read_age_seconds", "{{instance}}"), unit="s", section="alert-queuenotread"),
    lines("Put right by the sweep, in an hour", prom("sum by (result) (rate(earmark_swept_total[])) * 3600", "{{result}}"), section="alert-eventslost"),
    lines(
        "Calls to IVS, in a second",
        prom("sum by (operation) (rate(earmark_ivs_calls_total[]))", "{{operation}}"),
        prom("sum(rate(earmark_ivs_wait_seconds_total[]))", "seconds waited"),
        unit="ops",
    ),
)
_SIZE = (
    lines("Recordings", prom("max(earmark_catalogue_tracks)", "recordings")),
    lines("Length of the recordings", prom("max(earmark_catalogue_seconds)", "together"), unit="dtdurations"),
    lines("On the database's disk", prom("max by (part) (earmark_catalogue_bytes)", "{{part}}"), unit="bytes", stacked=True),
    lines(
        "Postings",
        prom("max(earmark_catalogue_postings)", "all"),
        prom("max(earmark_catalogue_fresh_postings)", "in no run yet"),
    ),
    lines("Runs", prom("max(earmark_catalogue_runs)", "runs"), steps=((None, "green"), (10, "orange"))),
    lines("Merge under way", prom("min(earmark_catalogue_merge_done_ratio)", "done"), unit="percentunit", max=1),
    lines(
        "Packing and merging, of each second",
        prom("sum by (did) (rate(earmark_upkeep_seconds_total[]))", "{{did}}"),
        unit="percentunit",
    ),
    lines("Postings packed and merged, in a second", prom("sum by (did) (rate(earmark_upkeep_postings_total[]))", "{{did}}"), unit="ops"),
    lines("Stop list", prom("max(earmark_catalogue_stopped_hashes)", "hashes")),
    lines("Damaged rows found, in an hour", prom("sum(increase(earmark_catalogue_damaged_rows_total[1h]))", "rows"), steps=((None, "green"), (1, "red"))),
    lines("Workers that stand by", prom("sum(earmark_standing_by)", "workers"), section="alert-standsby"),
)
_BUCKET = (
    lines("Objects taken up, in a minute", prom("sum by (outcome) (rate(earmark_stock_objects_total[])) * 60", "{{outcome}}")),
    heat("From an object to its recording", "earmark_stock_seconds"),
    lines("Objects waiting, and rejected", prom("max(earmark_stock_due)", "waiting"), prom("max(earmark_stock_rejected)", "rejected")),
    lines("Oldest object waiting", prom("max(earmark_stock_due_oldest_age_seconds)", "oldest"), unit="s", steps=((None, "green"), (60, "orange"))),
    lines("Found by comparing, in an hour", prom("sum by (result) (increase(earmark_stock_reconciled_total[1h]))", "{{result}}")),
    lines(
        "Recordings measured, in an hour",
        prom("sum by (outcome) (rate(earmark_profiles_total[])) * 3600", "{{outcome}}"),
        prom("max(earmark_profiles_due)", "waiting"),
    ),
    lines("Copies in other formats, in an hour", prom("sum by (outcome) (rate(earmark_formats_total[])) * 3600", "{{outcome}}")),
    lines("Bytes of copies written, in a second", prom("sum(rate(earmark_formats_bytes_total[]))", "written"), unit="Bps"),
    lines("Recordings waiting for copies, and failed copies", prom("max(earmark_formats_due)", "waiting"), prom("max(earmark_formats_failed)", "failed")),
    lines("Oldest recording waiting for copies", prom("max(earmark_formats_due_oldest_age_seconds)", "oldest"), unit="s"),
)
_KEEPING = (
    lines(
        "Removed because of its age, in an hour",
        prom("sum by (table) (rate(earmark_removed_rows_total[])) * 3600", "{{table}}"),
        prom("sum(rate(earmark_removals_failed_total[])) * 3600", "failed"),
    ),
    lines("Age of the oldest row", prom("max by (table) (earmark_oldest_row_age_seconds)", "{{table}}"), unit="s"),
    lines(
        "Archive segments found by a sweep, in an hour", prom("sum(rate(earmark_archive_segments_found_total[])) * 3600", "found"), section="alert-eventslost"
    ),
)
_API = (
    lines("Requests, in a second", prom("sum by (route, status) (rate(earmark_api_requests_total[]) > 0)", "{{route}} {{status}}"), unit="reqps"),
    lines("Refused, in a second", prom("sum by (problem) (rate(earmark_api_refused_total[]) > 0)", "{{problem}}"), unit="reqps"),
    lines("From a request to its answer, p95", *quantiles("earmark_api_request_seconds", 0.95, by="route"), unit="s"),
    lines("Requests under way", prom("sum(earmark_api_requests_running)", "under way")),
    lines("Uploads that never came, in an hour", prom("sum(increase(earmark_api_uploads_removed_total[1h]))", "removed")),
)
ROWS = (
    Row(shown=_NOW),
    Row(title="Look-ups: does the database answer?", shown=_LOOKUPS),
    Row(title="Queue, outbox, S3, SNS: does it come in and go out?", shown=_OUT),
    Row(title="The catalogue: how large, and does it keep itself?", shown=_SIZE),
    Row(title="The catalogue's bucket, and copies", closed=True, shown=_BUCKET),
    Row(title="What is too old", closed=True, shown=_KEEPING),
    Row(title="HTTP API", closed=True, shown=_API),
)
