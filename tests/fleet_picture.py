"""docs/fleet.svg: what `earmark streams list --watch` shows of a fleet that is made up, drawn by the command's own table and exported by Rich."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from earmark.control.overview import Overview, Row, Worker
from earmark.local.canvas import picture
from earmark.local.overview import Look
from earmark.local.overview_screen import drawn

WIDTH, HEIGHT = 100, 18
_SOME: Final = Row(
    stream_id="",
    trace_id="",
    source="ivs",
    channel_name="",
    channel_arn="",
    state="running",
    trouble="",
    owner="worker-7f3a",
    heard_s_ago=1.0,
    lag_s=4.2,
    waits_s=0.0,
    position_s=3_600.0,
    heard_s=3_600.0,
    playing="",
    plays=0,
    last_error="",
    failures=0,
)


def fleet() -> str:
    drawing = drawn(Look(overview=_overview()), width=WIDTH, height=HEIGHT)
    return picture(drawing, width=WIDTH, height=HEIGHT, title="earmark streams list --watch", name="fleet")


def _overview() -> Overview:
    rows = (
        _row("st-1ZpQ7bX0killer", trouble="quarantined", state="quarantined", owner="", heard_s=0.0, lag_s=None, heard_s_ago=None),
        _row("st-1Vn2f8kTqq4Gd", trouble="fails", state="wanted", owner="", waits_s=18.0, failures=4, last_error="the playlist of origin.example answered 404"),
        _row("st-1Rb91mUuXz0aa", trouble="waits", state="wanted", owner="", waits_s=41.0, position_s=0.0),
        _row("radio-one-2026-11-22", trouble="failed before", source="radio", lag_s=1.1, last_error="the station did not answer", heard_s=3_540.0),
        _row("st-1Qw83kd00Plm", channel_name="morning-show", playing="The Example Five – Blue Sky Morning", plays=1),
        _row("st-1Qx11fjR2aBc", channel_name="gym-live", playing="Ada Sample – Northern Rain", plays=2, lag_s=3.9),
        _row("st-1Qz07tt9Kmno", channel_name="talk", lag_s=5.0),
        _row("studio-2-20261122T060000Z", source="medialive", lag_s=12.4, owner="worker-9c01", playing="Paper Boat – Lanterns", plays=1),
        _row("st-1R0a55vbNNxy", channel_name="chess", owner="worker-9c01", heard_s=3_592.2),
    )
    troubled = sum(bool(row.trouble) for row in rows)
    workers = (
        Worker(name="worker-2b77", sessions=58, room=True, seen_s_ago=95.0, gone=True),
        Worker(name="worker-9c01", sessions=84, room=True, seen_s_ago=1.0, gone=False),
        Worker(name="worker-7f3a", sessions=83, room=True, seen_s_ago=2.0, gone=False),
    )
    return Overview(
        at=datetime(2026, 11, 22, 14, 3, 20, tzinfo=UTC),
        workers=workers,
        workers_in_all=len(workers),
        states={"running": 167, "wanted": 2, "quarantined": 1},
        troubled=troubled,
        oldest_wait_s=41.0,
        rows=rows,
    )


def _row(stream_id: str, **of: Any) -> Row:
    killed = {"last_error": "the process that heard it alone died of signal 11"} if of.get("trouble") == "quarantined" else {}
    return replace(_SOME, stream_id=stream_id, **{**killed, **of})
