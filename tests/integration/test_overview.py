"""What the fleet looks like at a glance: trouble first, one cheap statement, on a terminal as large as it is, whatever strangers named."""

import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from control_rows import run
from earmark.cli import main
from earmark.control.overview import ROWS_MAX, Wanted, look
from earmark.local import overview as overview_module
from earmark.local.overview import Lines, Look, coverage_of, heading, lag_of, more, says
from earmark.local.overview_screen import drawn
from earmark.postgres import Pool
from faults.schedule import Injected, Schedule
from faults.tcp_proxy import TcpProxy
from overview_rows import play, stream, track, troubles, worker
from terminal import Terminal

ALL = Wanted()
#: Moves the cursor, rings, sets a title, turns the direction of text, breaks the line, is Rich's mark-up; and is wide.
HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e[bold red]名前\n\ttwo\x00"[:-1]


def at_a_glance(pool: Pool, wanted: Wanted = ALL, *, rows_max: int = 100) -> Any:
    return look(pool, wanted, rows_max=rows_max, ttl_s=15)


def names(pool: Pool, wanted: Wanted = ALL) -> list[str]:
    return [row.stream_id for row in at_a_glance(pool, wanted).rows]


def on_screen(overview: Any, *, width: int = 80, height: int = 24, away: str = "") -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(drawn(Look(overview=overview, away=away, old_s=75.0), width=width, height=height))
    return out.getvalue().splitlines()


def test_trouble_comes_first_the_worst_at_the_top(pool: Pool) -> None:
    troubles(pool)
    found = at_a_glance(pool)
    assert [(row.stream_id, row.trouble) for row in found.rows[:6]] == [
        ("st-killer", "quarantined"),
        ("st-lost", "lost"),
        ("st-fails", "fails"),
        ("st-waits", "waits"),
        ("st-silent", "silent"),
        ("st-recovered", "failed before"),
    ]
    assert {row.trouble for row in found.rows[6:]} == {""}
    assert (found.streams, found.troubled, found.states) == (9, 6, {"running": 5, "wanted": 3, "quarantined": 1})
    assert found.oldest_wait_s == pytest.approx(45, abs=5)


def test_a_row_says_who_has_it_how_late_how_much_and_what_is_played(pool: Pool) -> None:
    troubles(pool)
    rows = {row.stream_id: row for row in at_a_glance(pool).rows}
    assert (rows["st-fine"].owner, coverage_of(rows["st-fine"]), says(rows["st-fine"])) == ("one", "100%", "♪ The Example Five – Blue Sky Morning")
    assert says(rows["st-other"]) == "♪ The Example Five – Blue Sky Morning (and 1 more)"  # the one that began last
    assert rows["st-fine"].lag_s == pytest.approx(1, abs=5)
    assert coverage_of(rows["st-silent"]) == "90.9%"
    assert says(rows["st-fails"]) == "the origin answered 404"
    assert float(lag_of(rows["st-waits"]).removesuffix(" s")) == pytest.approx(45, abs=5)
    assert len({row.trace_id for row in rows.values()}) == 9


def test_a_play_of_a_recording_that_has_left_the_catalogue_is_its_id(pool: Pool) -> None:
    stream(pool, "st-1", playing=[play("t-gone")])
    assert says(at_a_glance(pool).rows[0]) == "♪ t-gone"


#: Of `troubles`, and a stream of a named channel.
ASKED = (
    (Wanted(which=("quarantined",)), {"st-killer"}),
    (Wanted(which=("running", "wanted")), {"st-named", "st-fine", "st-other", "st-young", "st-recovered", "st-silent", "st-waits", "st-fails", "st-lost"}),
    (Wanted(which=("trouble",)), {"st-killer", "st-lost", "st-fails", "st-waits", "st-silent", "st-recovered"}),
    (Wanted(which=("ended",)), {"st-ended"}),
    (Wanted(which=("ended", "trouble")), {"st-ended", "st-killer", "st-lost", "st-fails", "st-waits", "st-silent", "st-recovered"}),
    (Wanted(channel="CONCERT"), {"st-named"}),
    (Wanted(channel="channel/AbC"), {"st-named"}),
    (Wanted(channel="';drop table stream;--"), set()),
    (Wanted(channel="%"), set()),
)


def test_only_what_is_asked_for(pool: Pool) -> None:
    troubles(pool)
    stream(pool, "st-named", channel_name="The concert", channel_arn="arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf")
    for wanted, expected in ASKED:
        assert set(names(pool, wanted)) == expected, wanted


def test_the_workers_and_who_is_gone(pool: Pool) -> None:
    worker(pool, "one", sessions=12)
    worker(pool, "two", sessions=40, room=False)
    worker(pool, "three", sessions=9, seen_s_ago=80)
    stream(pool, "st-1")
    lines = heading(Look(overview=at_a_glance(pool)))
    assert lines[1] == "2 workers, 1 gone: three gone for 1:20, two 40 (full), one 12"


def test_nobody_and_nothing(pool: Pool) -> None:
    overview = at_a_glance(pool)
    assert (overview.streams, overview.rows) == (0, ())
    lines = heading(Look(overview=overview))
    assert lines[0].endswith("Z  0 streams")
    assert lines[1] == "no worker: nobody listens; `earmark run` starts one"
    assert len(on_screen(overview)) <= 24


def test_it_fits_whatever_the_terminal_is_and_counts_what_does_not(pool: Pool) -> None:
    troubles(pool)
    for n in range(40):
        stream(pool, f"st-with-a-rather-long-name-{n:03d}", channel_name="a channel with a name", playing=[play("t-1")])
    for width, height in ((80, 24), (200, 50), (60, 12), (40, 6), (20, 5), (1, 1)):
        lines = on_screen(look(pool, Wanted(), rows_max=height, ttl_s=15), width=width, height=height)
        assert all(len(line) <= width for line in lines)
        assert len(lines) <= max(height, 5)
        if height >= 12:
            assert lines[3].startswith("st-killer")
            assert lines[-1].startswith("and ") and lines[-1].endswith("none in trouble")


def test_a_terminal_of_80_by_24_reads(pool: Pool) -> None:
    troubles(pool)
    worker(pool, "one", sessions=5)
    lines = on_screen(at_a_glance(pool))
    assert lines[0][8:].startswith("Z  9 streams, 6 in trouble: 5 heard, 3 waiting (0:4")
    assert lines[0].endswith("), 1 quarantined")
    assert lines[2].split() == ["stream", "state", "worker", "lag", "heard", "playing,", "or", "last", "error"]
    (fine,) = [line for line in lines if line.startswith("st-fine")]
    assert "heard" in fine and "one" in fine and "100%" in fine and "♪ The Example Five" in fine


def test_what_strangers_named_does_nothing_to_a_terminal(pool: Pool) -> None:
    track(pool, "t-bad", title=HOSTILE, artists=[HOSTILE])
    stream(pool, "st-bad", channel_name=HOSTILE, last_error=HOSTILE, playing=[play("t-bad")], failures=1)
    stream(pool, "名" * 100, owner=HOSTILE)
    worker(pool, HOSTILE)
    overview = at_a_glance(pool)
    said: list[str] = []
    Lines(as_json=False, write=said.append).show(Look(overview=overview, away=HOSTILE))
    Lines(as_json=True, write=said.append).show(Look(overview=overview, away=HOSTILE))
    screen = on_screen(overview, away=HOSTILE)
    for text in ("".join(said).replace("\n", ""), "".join(screen)):
        assert not [c for c in text if not c.isprintable()]
    assert any("[bold red]" in line for line in screen)  # shown, not heeded
    assert json.loads(said[1])["rows"][0]["channel_name"] == HOSTILE  # as it is, to machines


def test_with_the_database_away_the_last_answer_stays_and_says_how_old_it_is(pool: Pool) -> None:
    troubles(pool)
    lines = on_screen(at_a_glance(pool), width=120, away="the database does not answer")
    assert lines[0] == "the database is away: what is shown is 1:15 old. the database does not answer"
    assert lines[4].startswith("st-killer")


def test_more_than_are_shown_are_counted_with_their_trouble(pool: Pool) -> None:
    troubles(pool)
    overview = look(pool, Wanted(), rows_max=2, ttl_s=15)
    assert more(overview) == ["and 7 more, 4 of them in trouble"]
    assert more(replace(overview, rows=overview.rows * 5)) == []


def test_ten_thousand_streams_and_a_long_history_are_one_cheap_statement(pool: Pool) -> None:
    run(
        pool,
        """
        insert into stream (stream_id, source, state, owner, lease_until, wanted_at, claimed_at, heard_at, checkpoint)
        select 'st-' || n, 'ivs', case when n <= 10000 then 'running' else 'ended' end, case when n <= 10000 then 'w' || n %% 40 end,
               case when n <= 10000 then now() + interval '1 minute' end, now(), now(), now(),
               jsonb_build_object('heard_s', 100, 'position_s', 100, 'gaps', '[]'::jsonb, 'plays', '[]'::jsonb, 'padding', repeat(md5(n::text), 30))
          from generate_series(1, 25000) n""",
    )
    run(pool, "update stream set state = 'quarantined', owner = null, lease_until = null where stream_id = 'st-5000'")
    run(pool, "analyze stream")
    overview = look(pool, Wanted(), rows_max=20, ttl_s=15)
    assert (overview.streams, len(overview.rows), overview.rows[0].stream_id) == (10_000, 20, "st-5000")
    assert len(look(pool, Wanted(), rows_max=10**9, ttl_s=15).rows) == ROWS_MAX
    took = []
    for _ in range(5):
        began = time.perf_counter()
        look(pool, Wanted(), rows_max=20, ttl_s=15)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.5  # some 30 ms where nothing else runs


# ---------------------------------------------------------------------------------------------------- on a terminal


def _environment(dsn: str, **more: str) -> dict[str, str]:
    return {"EARMARK_DATABASE__DSN": dsn, **more}


def test_on_a_terminal_it_is_drawn_over_itself_follows_the_size_and_outlives_the_database(dsn: str, pool: Pool, tmp_path: Path) -> None:
    troubles(pool)
    stream(pool, "st-bad", channel_name=HOSTILE, last_error=HOSTILE, failures=1)
    where = conninfo_to_dict(dsn)
    socket_path = f"{where['host']}/.s.PGSQL.{where.get('port', 5432)}"
    with TcpProxy(upstream=socket_path, schedule=Schedule(seed=1, injected=Injected(), odds={}), way="postgres") as proxy:
        environment = _environment(make_conninfo(dsn, host="127.0.0.1", port=proxy.port))
        with Terminal("streams", "list", "--watch", "--interval", "0.3", environment=environment) as terminal:
            lines = terminal.until(lambda lines: any("st-killer" in line for line in lines), "the streams are shown")
            assert len(lines) <= 24 and max(map(len, lines)) <= 80
            run(pool, "insert into stream (stream_id, source, state) values ('st-another', 'ivs', 'quarantined')")
            terminal.until(lambda lines: any("st-another" in line for line in lines), "it is looked again")
            terminal.resize(9, 50)
            small = terminal.until(lambda lines: 0 < len(lines) <= 9, "it follows the size", limit_s=5)
            assert max(map(len, small)) <= 50 and small[-1].startswith("and ")
            terminal.resize(24, 80)
            proxy._upstream = str(tmp_path / "nowhere")
            proxy.break_all()
            away = terminal.until(lambda lines: any("the database is away" in line for line in lines), "it says so")
            assert any("st-killer" in line for line in away)
            proxy._upstream = socket_path
            terminal.until(lambda lines: lines and "the database is away" not in lines[0] and any("st-killer" in line for line in lines), "and goes on")
            assert terminal.interrupt() == 0
    # Drawn from the corner, never cleared: nothing flickers. And no order but Rich's.
    assert terminal.sent.count(b"\x1b[2J") <= 1
    assert {order[-1:] for order in terminal.orders()} <= {b"m", b"H", b"h", b"l", b"A", b"K", b"J"}
    assert b"\x1b" not in terminal.text() and b"\x9b31m" not in terminal.text() and b"\x07" not in terminal.text()
    assert terminal.sent.count(b"\x1b[?1049h") == terminal.sent.count(b"\x1b[?1049l") == 1  # the screen from before comes back


def test_no_color_is_none(dsn: str, pool: Pool) -> None:
    troubles(pool)
    with Terminal("streams", "list", "--watch", "--interval", "0.2", environment=_environment(dsn, NO_COLOR="1")) as terminal:
        terminal.until(lambda lines: any("st-killer" in line for line in lines), "the streams are shown")
        assert terminal.interrupt() == 0
    colours = {order for order in terminal.orders() if order.endswith(b"m")}
    assert not [order for order in colours if any(30 <= int(n) <= 49 for n in order[2:-1].split(b";") if n)]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--interval", "1"], "--interval goes with --watch"),
        (["--watch", "--interval", "0"], "'0' is no number of seconds between 0.2 and 3600"),
        (["--watch", "--interval", "nan"], "'nan' is no number of seconds"),
        (["--watch", "--interval", "soon"], "'soon' is no number of seconds"),
        (["--state", "runing"], "there is no state 'runing'; there is wanted, running, quarantined, ended, trouble"),
        (["--state", ""], "there is no state ''"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["streams", "list", *arguments])
    except SystemExit as ended:  # argparse's own
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_the_plain_list_takes_the_same_filters(dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    troubles(pool)
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    assert main(["streams", "list", "--json", "--state", "trouble"]) == 0
    assert {json.loads(line)["stream_id"] for line in capsys.readouterr().out.splitlines()} == set(names(pool, Wanted(which=("trouble",))))
    assert main(["streams", "list", "--channel", "none-such"]) == 0
    assert capsys.readouterr().out == "no streams now of that state or channel: --all shows those that have ended\n"


def test_to_a_pipe_it_is_a_block_of_lines_or_a_line_of_json_for_each_look(dsn: str, pool: Pool) -> None:
    troubles(pool)
    for more_arguments in ((), ("--json",)):
        command = [sys.executable, "-m", "earmark.cli", "streams", "list", "--watch", "--interval", "0.2", *more_arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin", **_environment(dsn)}) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(3 if more_arguments else 30)]
            process.stdout.close()  # as `| head` does: nothing is wrong
            assert process.wait(20) == 0
        if more_arguments:
            looks = [json.loads(line) for line in lines]
            assert [look["states"] for look in looks] == [{"running": 5, "wanted": 3, "quarantined": 1}] * 3
            assert looks[0]["at"] < looks[1]["at"] < looks[2]["at"]
        else:
            assert sum(line.startswith("st-killer  quarantine") for line in lines) >= 2
            assert "\x1b" not in "".join(lines)


def test_a_database_that_is_away_at_the_beginning_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", "postgresql://earmark@127.0.0.1:1/earmark")
    assert main(["streams", "list", "--watch"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_without_rich_a_terminal_gets_lines(pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As in the image, which has no desk."""
    troubles(pool)
    monkeypatch.setitem(sys.modules, "rich", None)
    for module in [name for name in sys.modules if name.startswith(("rich.", "earmark.local.overview_screen"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with overview_module._display(as_json=False) as display:
        assert isinstance(display, Lines)
        display.show(Look(overview=at_a_glance(pool)))
    assert "\nst-killer  quarantine" in capsys.readouterr().out


def test_one_odd_row_is_no_reason_to_show_none(pool: Pool) -> None:
    troubles(pool)
    odd = {"clock": "soon", "clock_source": "program_date_time", "plays": {"a": 1}, "heard_s": 0, "position_s": 0}
    run(pool, "update stream set checkpoint = %s::jsonb where stream_id = 'st-fine'", json.dumps(odd))
    (row,) = [row for row in at_a_glance(pool).rows if row.stream_id == "st-fine"]
    assert (row.lag_s, row.playing) == (None, "")
