"""Hearing: how sure, how soon, and what chance does. Not a matter of load, but of the settings, the catalogue and the streams."""

from dashboard_panels import HIT_LINK, STREAM_LINK, Panel, Row, column, distribution, heat, lines, prom, quantiles, shares, sql, stat, table, told

_IN_RANGE = "from earmark_v_plays where $__timeFilter(opened_at) and not canary"
#: More are not read: a distribution of so many is one of all.
_PLAYS_MAX = 20_000
_SCORES = f"select evidence_nats {_IN_RANGE} and evidence_nats is not null order by opened_at desc limit {_PLAYS_MAX}"
_LATENCIES = f"select latency_s {_IN_RANGE} and latency_s between 0 and 120 order by opened_at desc limit {_PLAYS_MAX}"
_TRANSFORMS = f"select transform, count(*) as plays from (select transform {_IN_RANGE} order by opened_at desc limit {_PLAYS_MAX}) p group by 1 order by 2 desc"
_ACTIONS = f"select action, count(*) as plays from (select action {_IN_RANGE} order by opened_at desc limit {_PLAYS_MAX}) p group by 1 order by 2 desc"
_HOLDERS = f"""
select coalesce(nullif(rights_holder, ''), 'not said') as holder, count(*) as plays
  from (select rights_holder {_IN_RANGE} order by opened_at desc limit {_PLAYS_MAX}) p group by 1 order by 2 desc, 1 limit 15"""
_LEAST_SURE = f"""
select opened_at, called, stream_id, stream_key, evidence_nats, false_alarms_per_hour, length_s, speed_ratio, transform, quotation, s3_bucket, s3_key
  from (select * {_IN_RANGE} order by opened_at desc limit {_PLAYS_MAX}) p order by evidence_nats limit 50"""


def _decoys_with_more(nats: str) -> str:
    """How many of six hours had more than so many nats. OpenTelemetry's collector writes a bound of 12.0 as 12."""
    return f'(sum(increase(earmark_decoy_evidence_nats_count[6h])) - sum(increase(earmark_decoy_evidence_nats_bucket{{le=~"{nats}([.]0)?"}}[6h])))'


def _decoys_above(nats: str) -> Panel:
    """How many a stream-hour of decoys has above so many nats."""
    heard = 'sum(increase(earmark_decoy_seconds_total{result="heard"}[6h]))'
    return prom(f"3600 * {_decoys_with_more(nats)} / ({heard} > 0)", f"above {nats} nats")


_CHANCE = (
    stat(
        "False alarms an hour, configured",
        prom('max(earmark_false_alarms_per_hour{kind="configured"})'),
        unit="sci",
        idle="not known",
        w=4,
        says="Of one stream, by chance: matching.false_alarms_per_hour. It is the threshold.",
    ),
    stat(
        "The same, by decoys",
        prom('max(earmark_false_alarms_per_hour{kind="extrapolated"})'),
        unit="sci",
        idle="too few decoys yet",
        w=4,
    ),
    stat(
        "Surely more than configured",
        prom(
            'max(earmark_false_alarms_per_hour{kind="extrapolated_least"}) / max(earmark_false_alarms_per_hour{kind="configured"})',
        ),
        unit="short",
        decimals=2,
        idle="too few decoys yet",
        steps=((None, "green"), (1, "orange")),
        says="The least that the decoys leave room for, over what is configured. Above 1, chance meets more often than was calibrated: lower "
        "matching.false_alarms_per_hour by this factor. " + told("earmark_false_alarms_per_hour"),
        w=4,
    ),
    stat("Threshold", prom("max(earmark_threshold_nats)"), decimals=1, idle="not known", says=told("earmark_threshold_nats"), w=4),
    stat(
        "Told after, p95",
        prom(
            "histogram_quantile(0.95, sum by (le) (increase(earmark_hit_latency_seconds_bucket[1h])))"
            " and on () (sum(increase(earmark_hit_latency_seconds_count[1h])) > 0)"
        ),
        unit="s",
        steps=((None, "green"), (15, "orange")),
        idle="no plays",
        section="alert-hitsburn",
        w=4,
    ),
    stat(
        "Music that is known",
        prom(
            'sum(rate(earmark_music_seconds_total{identified="yes"}[1h])) / (sum(rate(earmark_music_seconds_total[1h])) > 0)',
        ),
        unit="percentunit",
        idle="no music",
        says="Of what sounded like music in the last hour, the share where a play was known. " + told("earmark_music_seconds_total"),
        w=4,
    ),
)
_SCORES_AND_CHANCE = (
    distribution(
        "Evidence of plays",
        sql(_SCORES),
        unit="short",
        bucket=10,
        says="How many plays of the time range have how many nats against chance, ten to a bar. A hump near the threshold that was not there before: "
        "plays that are barely sure, or chance; the table below names them.",
    ),
    lines(
        "Evidence of decoys, in an hour of them",
        *(_decoys_above(nats) for nats in ("8", "12", "15", "20")),
        says="How often recordings that cannot be playing have so much evidence, in an hour of stream: for every one and a half nats more a third as often. "
        + told("earmark_decoy_evidence_nats"),
        log=True,
    ),
    lines(
        "False alarms an hour: as configured, and by decoys",
        prom("max by (kind) (earmark_false_alarms_per_hour)", "{{kind}}"),
        unit="sci",
        says=told("earmark_false_alarms_per_hour"),
        log=True,
    ),
    heat("Evidence of decoys", "earmark_decoy_evidence_nats", unit="short"),
    lines(
        "Stream turned into decoys",
        prom("sum by (result) (rate(earmark_decoy_seconds_total[]))", "{{result}}"),
        unit="s",
        says="Seconds in each second. " + told("earmark_decoy_seconds_total"),
    ),
    lines(
        "Nats beyond 12, a decoy",
        prom(
            f"sum(increase(earmark_decoy_excess_nats_total[6h])) / ({_decoys_with_more('12')} > 0)",
            "nats",
        ),
        steps=((None, "green"), (2, "orange")),
        says=told("earmark_decoy_excess_nats_total"),
    ),
)
_SOON = (
    heat("From first second to first telling", "earmark_hit_latency_seconds", section="alert-hitsburn"),
    lines("The same", *quantiles("earmark_hit_latency_seconds", 0.5, 0.95), unit="s", steps=((None, "green"), (15, "orange")), section="alert-hitsburn"),
    distribution(
        "To being on record",
        sql(_LATENCIES),
        unit="s",
        bucket=1,
        says="Seconds by the streams' own clocks from a play's first second to its being on record, how many of each. More than on the left is what "
        "the origin took.",
    ),
)
_HOW = (
    shares(
        "How recordings were played",
        sql(_TRANSFORMS),
        says="Plays of the time range. other speed: pitch and all, as a turntable does. other speed, same pitch: stretched. other pitch: not faster.",
        w=6,
    ),
    lines(
        "Other speeds tried",
        prom("sum by (result) (rate(earmark_transforms_total[]))", "{{result}}"),
        unit="ops",
        w=6,
    ),
    shares("What their owners want", sql(_ACTIONS), says="Plays of the time range, by action. track: on record only.", w=6),
    shares("Whose they are", sql(_HOLDERS), says="Plays of the time range, by rights holder: the fifteen that have most.", w=6),
)
_SURE = (
    table(
        "Plays that are least sure",
        sql(_LEAST_SURE),
        column("opened_at", "Told", width=165),
        column("called", "Recording", links=[HIT_LINK]),
        column("stream_id", "Stream", links=[STREAM_LINK], width=240),
        column("evidence_nats", "Evidence, nats", unit="none", decimals=1, width=110),
        column("false_alarms_per_hour", "False alarms an hour", unit="sci", width=140),
        column("length_s", "Length", unit="dtdurations", width=90),
        column("speed_ratio", "Speed", unit="none", decimals=3, width=75),
        column("transform", "Played"),
        column("quotation", "Quotation", width=85),
        *(column(name, hidden=True) for name in ("stream_key", "s3_bucket", "s3_key")),
        says="Of the time range, the fifty with the least evidence: if one of them is wrong, `earmark hits explain ID` draws why it was told.",
        idle="no plays",
        w=24,
    ),
)
_WHAT = (
    lines(
        "Music heard, known or not",
        prom("sum by (identified) (rate(earmark_music_seconds_total[]))", "known: {{identified}}"),
        unit="s",
        says="Seconds of music heard in each second, of all streams. " + told("earmark_music_seconds_total"),
        stacked=True,
    ),
    lines(
        "Candidates verified, for a second heard",
        prom('sum(rate(earmark_verified_total[])) / (sum(rate(earmark_media_seconds_total{result="heard"}[])) > 0)', "verified"),
        says=told("earmark_verified_total"),
    ),
    lines("Revisions of plays, in an hour", prom("sum by (state) (rate(earmark_hits_total[])) * 3600", "{{state}}")),
    lines(
        "The canary's evidence",
        prom("max(earmark_canary_score_nats)", "nats"),
        says=told("earmark_canary_score_nats"),
        section="alert-canaryunheard",
    ),
    lines(
        "The canary, from its first sample to its hit",
        prom("max(earmark_canary_latency_seconds)", "to its hit"),
        prom("max by (stage) (earmark_canary_stage_seconds)", "{{stage}}"),
        unit="s",
        section="alert-canaryunheard",
    ),
    lines(
        "Rounds of the canary, in a day",
        prom("max by (result) (earmark_canary_rounds)", "{{result}}"),
        stacked=True,
        section="alert-canaryunheard",
    ),
)
ROWS = (
    Row(shown=_CHANCE),
    Row(title="How sure: plays, and what chance has", shown=_SCORES_AND_CHANCE),
    Row(title="How soon", shown=_SOON),
    Row(title="What was played, how, and whose it is", shown=(*_HOW, *_SURE)),
    Row(title="What there was to hear, and the canary", shown=_WHAT),
)
