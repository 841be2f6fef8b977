"""Burn rates over five days of history, written into a real Prometheus: fast, slow, over, and not at all."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from alert_world import ALERTS, RECORDED
from prometheus_served import prometheus

MINUTE_S, HOUR_S = 60, 3600
HOURS = 130
#: Media seconds of each second, plays and alerts of each minute.
STREAMS, PLAYS = 10.0, 6.0
#: A worker is restarted so often, and counts anew.
LIFE_H = 12.0
#: From hour to hour: what share of media was lost; of alerts and of plays, what share was late.
LOST = ((72.0, 72.5, 0.08), (96.0, 121.0, 0.004))
ALERTS_LATE = ((50.0, 51.0, 0.2),)
PLAYS_LATE = ((30.0, 33.0, 1.0),)
#: So many streams had no worker.
UNHEARD = ((44.0, 44.25, 1.0),)
#: Nobody scraped.
UNSEEN = (60.0, 60.4)
BURNS = sorted(name for name in ALERTS if "Burn" in name)


def share(episodes: tuple[tuple[float, float, float], ...], hour: float) -> float:
    return next((value for begin, end, value in episodes if begin <= hour < end), 0.0)


def history(begin: float) -> Iterator[str]:
    """OpenMetrics, a sample a minute; `begin` in Unix time."""
    counters: dict[str, list[str]] = {}
    totals: dict[str, float] = {}

    def count(series: str, by: float, at: float) -> None:
        totals[series] = totals.get(series, 0.0) + by
        counters.setdefault(series, []).append(f"{series} {totals[series]:.6f} {at:.0f}\n")

    for minute in range(HOURS * 60):
        hour, at = minute / 60, begin + minute * MINUTE_S
        if hour % LIFE_H == 0:
            totals.clear()
        if UNSEEN[0] <= hour < UNSEEN[1]:
            continue
        lost, late, slow = share(LOST, hour), share(ALERTS_LATE, hour), share(PLAYS_LATE, hour)
        count('earmark_media_seconds_total{result="heard"}', STREAMS * MINUTE_S * (1 - lost), at)
        count('earmark_media_seconds_total{result="late"}', STREAMS * MINUTE_S * lost, at)
        count('earmark_media_seconds_total{result="origin_down"}', STREAMS * MINUTE_S * 0.2, at)
        count('earmark_published_total{target="sns",result="sent"}', PLAYS, at)
        count('earmark_published_total{target="sns",result="dead"}', 0, at)
        count('earmark_publish_delay_seconds_count{target="sns"}', PLAYS, at)
        count('earmark_publish_delay_seconds_bucket{target="sns",le="30.0"}', PLAYS * (1 - late), at)
        count("earmark_hit_latency_seconds_count", PLAYS, at)
        count('earmark_hit_latency_seconds_bucket{le="15.0"}', PLAYS * (1 - slow), at)
    for series in sorted(counters):
        yield from counters[series]
    for first, last, streams in UNHEARD:
        for quarter in range(round((last - first) * HOUR_S / 15)):
            yield f"earmark:streams_unheard:count {streams:g} {begin + first * HOUR_S + 15 * quarter:.0f}\n"
    yield "# EOF\n"


def spelt_out(expression: str) -> str:
    """Without what is recorded, but for what history has."""
    while True:
        found = next((name for name in re.findall(r"earmark:[\w:]+", expression) if name != "earmark:streams_unheard:count"), None)
        if found is None:
            return expression
        expression = re.sub(rf"{found}\b", lambda _, name=found: f"({RECORDED[name].strip()})", expression)


@pytest.fixture(scope="module")
def burning(tmp_path_factory: pytest.TempPathFactory, skip_unless: Callable[[str], str]) -> Iterator[Callable[[float], set[str]]]:
    """Which burn-rate alerts are true at an hour of the history."""
    folder = tmp_path_factory.mktemp("history")
    begin = (time.time() // HOUR_S - HOURS) * HOUR_S
    written = folder / "history.om"
    written.write_text("".join(history(begin)), encoding="utf-8")
    backfill = [skip_unless("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=64h", str(written), str(folder / "data")]
    done = subprocess.run(backfill, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    with prometheus(skip_unless("prometheus"), folder, {"global": {"scrape_interval": "15s"}}) as server:
        yield lambda hour: {name for name in BURNS if server.query(spelt_out(ALERTS[name]["expr"]), at=begin + hour * HOUR_S)}


@pytest.mark.parametrize(
    "hour,alerts,why",
    [
        (0.5, set(), "the first half hour"),
        (12.1, set(), "a worker was restarted"),
        (31.0, {"EarmarkHitsBurn"}, "every play has been told late for an hour"),
        (40.0, set(), "nor on a day with three such hours, when they are over"),
        (44.2, {"EarmarkCoverageBurnsFast"}, "one stream of eleven has had no worker for ten minutes"),
        (45.0, set(), "it has one"),
        (50.2, set(), "a fifth of the alerts have been late for a quarter of an hour: so may single ones be"),
        (50.9, {"EarmarkAlertsBurnFast"}, "for nearly an hour"),
        (51.2, set(), "none has been since"),
        (60.5, set(), "nobody scraped for a while"),
        (72.1, set(), "8 % have been lost for six minutes"),
        (72.2, {"EarmarkCoverageBurnsFast"}, "for twelve: 2 % of what a month allows"),
        (72.6, {"EarmarkCoverageBurnsFast"}, "for half an hour, until just now: 5 % of it in six hours"),
        (73.2, set(), "not for half an hour"),
        (97.0, set(), "0.4 % have been lost for an hour"),
        (118.0, {"EarmarkCoverageBurnsSlow"}, "for most of a day"),
        (124.0, {"EarmarkCoverageBurnsSlow"}, "and until three hours ago"),
        (128.0, set(), "not for seven hours"),
    ],
)
def test_burn_rates_tell(burning: Callable[[float], set[str]], hour: float, alerts: set[str], why: str):
    assert burning(hour) == alerts, why
