"""`earmark report --since --until --channel`: rows and sums of many streams, as they are on record and as they are typed."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Json

import hits_samples as samples
from control_rows import run
from earmark.cli import main
from earmark.hits.reports.exports import CSV_COLUMNS
from earmark.hits.reports.portion import Period
from earmark.hits.reports.selection import Selection, portions
from earmark.hits.reports.totals import Totals
from earmark.hits.text import dumps
from earmark.model import Gap, Music, Play, Stretch, Track
from earmark.postgres import Pool, statement, transaction

Run = Callable[..., tuple[int, str, str]]
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SONG = replace(samples.TRACK, title="=1+1\n<script>\u202e🎵")
OTHER = Track(track_id="other", title="Other", artists=("Zoë",), label="Paper Boat", isrc=("DEA012600001",), rights_holder="Somebody Else")


def on_record(
    pool: Pool,
    stream_id: str,
    begins_at: datetime,
    plays: Sequence[tuple[float, float, Track]] = (),
    *,
    length_s: float = 3_600.0,
    gaps: Sequence[Gap] = (),
    music: Sequence[Stretch] = (),
    channel: str = "late",
    channel_arn: str | None = samples.STREAM.channel_arn,
    **changes: Any,
) -> None:
    """A session that has ended, with its plays, as a ledger leaves them."""
    stream = replace(samples.STREAM, stream_id=stream_id, channel_name=channel, channel_arn=channel_arn, started_at=begins_at)
    clock = begins_at + timedelta(seconds=length_s)
    checkpoint = samples.checkpoint(length_s, gaps=gaps, **{"state": "ended", "clock": clock, "music": Music(stretches=tuple(music))} | changes)
    with transaction(pool) as connection:
        samples.insert_stream(connection, stream=stream)
        ended = "update stream set state = 'ended', owner = null, lease_until = null, checkpoint = %s::jsonb where stream_id = %s"
        connection.execute(ended, [checkpoint.to_json(), stream_id])
        for number, (begin_s, end_s, track) in enumerate(plays):
            continues = end_s == length_s
            values = {"state": "closed", "hit_id": f"{stream_id}-{number}", "continues": continues}
            play: Play = samples.play(track.track_id, begin_s=begin_s, length_s=end_s - begin_s, **values)
            started_at = begins_at + timedelta(seconds=begin_s)
            body = samples.hit(play, stream=stream, track=track) | {"started_at": moment(started_at), "ended_at": moment(begins_at + timedelta(seconds=end_s))}
            connection.execute(
                """insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing)
                   values (%s, %s, %s, 1, 'closed', %s, %s, %s, 1)""",
                [play.hit_id, stream_id, track.track_id, begin_s, end_s, Json(body, dumps=dumps)],
            )


def moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hours(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dsn: str) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def call(*argv: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(["report", *argv])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def week(pool: Pool) -> None:
    """Three sessions of two channels, and three that are no stream's on air."""
    gap = Gap(begin_s=3_000.0, end_s=3_600.0, reason="origin_down")
    on_record(pool, "st-1", hours(1), [(0.0, 60.0, SONG), (600.0, 700.0, OTHER)], gaps=[gap], channel="late-night")
    on_record(pool, "st-2", hours(23.5), [(1_700.0, 1_900.0, SONG)], music=[Stretch(begin_s=2_000.0, end_s=2_100.0)], channel="late-night")
    on_record(pool, "st-3", hours(49), [(10.0, 20.0, OTHER)], channel="early_100%")
    on_record(pool, "canary:1", hours(2), [(10.0, 20.0, SONG)])
    on_record(pool, "file-1", hours(2), [(10.0, 20.0, SONG)])
    on_record(pool, "fill-1", hours(2), [(10.0, 20.0, SONG)])
    run(pool, "insert into checked_file (stream_id, bucket, key, made_at) values ('file-1', 'b', 'k', now())")
    run(pool, "update stream set parent = 'st-1', background = true where stream_id = 'fill-1'")


def sums(out: str) -> dict[str, Any]:
    return dict(json.loads(out)["coverage"])


# ------------------------------------------------------------------------------------------------ which, and how much


def test_sessions_on_air_are_added_up_and_nobodys_are_not(week: None, typed: Run) -> None:
    code, out, err = typed("--since", "2026-11-21", "--until", "2026-11-30", "--format", "json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert sums(out) == {
        "sessions": 3,
        "total_s": 10_800.0,
        "heard_s": 10_200.0,
        "gap_s": 600.0,
        "identified_s": 370.0,
        "unidentified_music_s": 100.0,
        "rest_s": 9_730.0,
        "overlap_s": 0.0,
        "gap_s_by_reason": {"origin_down": 600.0},
    }
    assert [(row["channel"], row["plays"], row["coverage"]["sessions"]) for row in document["by_channel"]] == [("early_100%", 1, 1), ("late-night", 3, 2)]
    assert [(row["rights_holder"], row["plays"], row["heard_s"]) for row in document["by_rights_holder"]] == [
        ("Paper Boat Rights Ltd", 2, 260.0),
        ("Somebody Else", 2, 110.0),
    ]
    assert [(row["label"], row["heard_s"]) for row in document["by_label"]] == [("Paper Boat", 370.0)]
    assert (document["since"], document["until"], document["time_zone"]) == ("2026-11-21T00:00:00.000Z", "2026-12-01T00:00:00.000Z", "UTC")


def test_a_day_is_the_zones_and_what_lies_over_its_end_is_divided(week: None, typed: Run) -> None:
    days = [typed("--since", day, "--until", day, "--format", "json")[1] for day in ("2026-11-21", "2026-11-22", "2026-11-23")]
    assert [sums(out)["sessions"] for out in days] == [2, 1, 1]
    assert [json.loads(out)["all"]["plays"] for out in days] == [3, 0, 1]  # it began before midnight
    assert [json.loads(out)["all"]["heard_s"] for out in days] == [260.0, 100.0, 10.0]
    berlin = typed("--since", "2026-11-22", "--until", "2026-11-22", "--time-zone", "Europe/Berlin", "--format", "json")[1]
    assert (json.loads(berlin)["since"], sums(berlin)["total_s"]) == ("2026-11-21T23:00:00.000Z", 3_600.0)
    moment = typed("--since", "2026-11-21T01:00:30Z", "--until", "2026-11-21T01:01:00+00:00", "--format", "json")[1]
    assert (sums(moment)["total_s"], json.loads(moment)["all"]) == (30.0, {"plays": 0, "played_s": 30.0, "heard_s": 30.0})


@pytest.mark.parametrize(
    "pattern, sessions",
    [("late*", 2), ("LATE-NIGHT", 2), ("late", 0), ("*100%", 1), ("early?100%", 1), ("early%", 0), ("st-3", 1), ("arn:aws:ivs:*", 3), ("\\", 0)],
)
def test_channels_are_named_as_in_a_shell(week: None, typed: Run, pattern: str, sessions: int) -> None:
    assert sums(typed("--channel", pattern, "--format", "json")[1])["sessions"] == sessions


def test_a_period_in_which_nothing_was_on_air_is_an_empty_report(week: None, typed: Run) -> None:
    assert typed("--since", "2027-01-01", "--format", "csv") == (0, ",".join(CSV_COLUMNS) + "\r\n", "")
    assert "Heard       0:00 of 0:00\n" in typed("--since", "2027-01-01")[1]


def test_a_play_over_the_midnight_at_which_a_station_is_cut_is_counted_once(pool: Pool, typed: Run) -> None:
    on_record(pool, "radio-1", hours(20), [(10_000.0, 14_400.0, SONG), (14_000.0, 14_400.0, OTHER)], length_s=14_400.0)
    on_record(pool, "radio-2", hours(24), [(0.4, 60.0, SONG), (200.0, 230.0, OTHER), (300.0, 360.0, SONG)])
    on_record(pool, "other-2", hours(24), [(0.4, 60.0, SONG)], channel_arn="arn:of:another")
    lines = [json.loads(line) for line in typed("--since", "2026-11-21", "--format", "jsonl")[1].splitlines()][:-1]
    notes = [(line["stream_id"], line["track_id"] == "other", line["note"], line["began_here"]) for line in lines]
    assert [note for note in notes if note[2]] == [
        ("radio-1", False, "continues in the next session", True),
        ("radio-1", True, "continues in the next session", True),
        ("radio-2", False, "goes on from the session before", False),
    ]
    assert json.loads(typed("--since", "2026-11-21", "--format", "json")[1])["all"]["plays"] == 5
    month = typed("--since", "2026-11-01", "--until", "2026-11-30", "--format", "soundexchange")[1]
    assert sum(int(row.rsplit("|", 1)[1]) for row in month.splitlines()) == 5


# ------------------------------------------------------------------------------------------------ forms


def test_the_cue_sheet_has_the_stream_in_front_and_no_cell_is_a_formula(week: None, typed: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(typed("--channel", "late*", "--format", "csv")[1], newline="")))
    assert [(row["stream_id"], row["kind"], row["begin_s"], row["note"]) for row in rows] == [
        ("st-1", "play", "0.000", ""),
        ("st-1", "unidentified", "60.000", ""),
        ("st-1", "play", "600.000", ""),
        ("st-1", "unidentified", "700.000", ""),
        ("st-1", "gap", "3000.000", "origin_down"),
        ("st-2", "unidentified", "0.000", ""),
        ("st-2", "play", "1700.000", ""),
        ("st-2", "unidentified", "1900.000", ""),
        ("st-2", "unidentified", "2000.000", "music"),
        ("st-2", "unidentified", "2100.000", ""),
    ]
    assert rows[0]["title"] == "'=1+1 <script>🎵"
    assert sum(float(row["duration_s"]) for row in rows) == pytest.approx(7_200.0)


def test_lines_of_json_end_with_the_sum(week: None, typed: Run) -> None:
    documents = [json.loads(line) for line in typed("--since", "2026-11-21", "--format", "jsonl")[1].splitlines()]
    assert [document["kind"] for document in documents] == ["play"] * 4 + ["total"]
    assert [document["stream_id"] for document in documents[:4]] == ["st-1", "st-1", "st-2", "st-3"]
    assert documents[0]["title"] == SONG.title
    assert (documents[4]["plays"], documents[4]["recordings"], documents[4]["channels"], documents[4]["coverage"]["total_s"]) == (4, 2, 2, 10_800.0)
    assert sum(document["duration_s"] for document in documents[:4]) == documents[4]["played_s"]


def test_people_read_a_table(week: None, typed: Run) -> None:
    text = typed("--since", "2026-11-21", "--until", "2026-11-21", "--channel", "late*")[1]
    assert text.splitlines()[0] == "Report      from 2026-11-21 00:00:00 to 2026-11-22 00:00:00 (UTC), late*"
    assert "Identified  4:20, 3 plays of 2 recordings" in text
    assert "The Example Five, Ada Sample - =1+1 <script>🎵" in text and "\u202e" not in text


def test_a_report_of_use_says_what_it_lacks(week: None, typed: Run) -> None:
    month = ("--since", "2026-11-01", "--until", "2026-11-30", "--format", "soundexchange")
    code, out, err = typed(*month)
    assert code == 0
    assert [line.split("|")[7:] for line in out.splitlines()] == [
        ["", "", "^early_100%^", "1"],
        ["", "", "^late-night^", "2"],
        ["", "", "^late-night^", "1"],
    ]
    assert "earmark: SoundExchange wants this file called Service01112026-30112026.txt\n" in err
    assert "earmark: how many listened is left empty: --listeners says it\n" in err
    whose = {f"EARMARK_REPORTING__{name}": "x" for name in ("CONTACT", "STREET", "CITY", "TELEPHONE", "EMAIL")}
    code, out, err = typed(*month, "--listeners", "7", EARMARK_REPORTING__SERVICE="Acme Radio", EARMARK_REPORTING__CATEGORY="A", **whose)
    assert err == "earmark: SoundExchange wants this file called AcmeRadio01112026-30112026.txt\n"
    rows = out.split("\n")
    assert (rows[0], rows[6], rows[7], rows[9], len(rows)) == ("Acme Radio\r", "20261101\r", "20261130\r", "3\r", 18)
    assert rows[14] == "^Acme Radio^|^A^|^Zoe^|^Other^|^DEA012600001^||^Paper Boat^|7||^early_100%^|1\r"


# ------------------------------------------------------------------------------------------------ sums are exact

LENGTH_S = 900.0
SPANS = st.tuples(st.integers(0, 890_000), st.integers(1, 200_000)).map(lambda span: (span[0] / 1000, min(LENGTH_S, (span[0] + span[1]) / 1000)))


def apart(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for begin_s, end_s in sorted(spans):
        if not kept or begin_s >= kept[-1][1]:
            kept.append((begin_s, end_s))
    return kept


SESSION = st.tuples(
    st.lists(st.tuples(SPANS, st.sampled_from([SONG, OTHER])), max_size=5), st.lists(SPANS, max_size=3).map(apart), st.lists(SPANS, max_size=3).map(apart)
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SESSION, max_size=4), st.integers(0, 3_600))
def test_whatever_is_on_record_adds_up_to_its_coverage_in_any_two_periods(pool: Pool, sessions: list[Any], at_s: int) -> None:
    for table in ("play", "stream"):
        run(pool, f"delete from {table}")
    for number, (plays, gaps, music) in enumerate(sessions):
        on_record(
            pool,
            f"st-{number}",
            MIDNIGHT + timedelta(seconds=600 * number),
            [(*span, track) for span, track in plays],
            length_s=LENGTH_S,
            gaps=[Gap(begin_s=begin_s, end_s=end_s, reason="late") for begin_s, end_s in gaps],
            music=[Stretch(begin_s=begin_s, end_s=end_s) for begin_s, end_s in music],
            channel=f"channel-{number % 2}",
        )
    bound = MIDNIGHT + timedelta(seconds=at_s)
    with statement(pool) as connection:
        whole, before, after = (Totals() for _ in range(3))
        for totals, period in ((whole, Period()), (before, Period(until=bound)), (after, Period(since=bound))):
            for portion in portions(connection, Selection(period=period)):
                totals.add(portion)
        said = connection.execute(
            """select coalesce(sum((checkpoint->'position_s')::numeric), 0) * 1000, coalesce(sum((checkpoint->'heard_s')::numeric), 0) * 1000,
                      (select count(*) from play), (select coalesce(sum(end_s - begin_s), 0) * 1000 from play) from stream"""
        ).fetchone()
    heard = whole.heard
    assert said is not None
    assert [heard.total_ms, whole.all.plays] == [said[0], said[2]]
    assert [heard.heard_ms, whole.all.played_ms] == [pytest.approx(float(said[1]), abs=1e-3), pytest.approx(said[3], abs=1e-3)]
    assert heard.identified_ms + heard.music_ms + heard.rest_ms == heard.heard_ms
    assert sum(one.share.heard_ms for one in whole.recordings.values()) == heard.identified_ms + heard.overlap_ms
    assert sum(one.heard.total_ms for one in whole.channels.values()) == heard.total_ms
    for name in ("total_ms", "gap_ms", "identified_ms", "music_ms", "rest_ms", "overlap_ms"):
        assert getattr(before.heard, name) + getattr(after.heard, name) == getattr(heard, name)
    assert before.all.plays + after.all.plays == whole.all.plays


def test_a_stream_that_is_forgotten_meanwhile_is_left_out_and_nobody_is_held_back(week: None, pool: Pool) -> None:
    with statement(pool) as connection:
        found = portions(connection, Selection(period=Period(), channel="st-*"))
        assert next(found).report.stream.stream_id == "st-1"
        (open_n,) = connection.execute("select count(*) from pg_stat_activity where state = 'idle in transaction' and datname = current_database()").fetchone()
        assert open_n == 0
        run(pool, "delete from play where stream_id = 'st-2'")
        run(pool, "delete from stream where stream_id = 'st-2'")
        assert [portion.report.stream.stream_id for portion in found] == ["st-3"]


# ------------------------------------------------------------------------------------------------ what makes no sense

WRONG = [
    ((), "name a stream, or what a report across streams is of: --since, --until, --channel"),
    (("--since", "yesterday"), "--since 'yesterday' is no time: write a day (2026-11-01)"),
    (("--since", "2026-02-30"), "--since '2026-02-30' is no time"),
    (("--until", "9999-12-31"), "--until '9999-12-31' is no time"),
    (("--since", "2026-11-02", "--until", "2026-11-01"), "--until 2026-11-01 is not after --since 2026-11-02: nothing lies between them"),
    (("--since", "7d", "--time-zone", "Mars/Olympus"), "there is no time zone 'Mars/Olympus'"),
    (("--since", "7d", "--time-zone", "../../etc/passwd"), "there is no time zone '../../etc/passwd'"),
    (("--since", "7d", "--time-zone", "Europe"), "there is no time zone 'Europe'"),
    (("--since", "7d", "--format", "html"), "--format html is of one stream: name it; across streams there is text, json, csv, jsonl, soundexchange"),
    (("--since", "7d", "--format", "soundexchange"), "a report of use is of a period: say both --since and --until"),
    (("--since", "7d", "--listeners", "3"), "--listeners is for --format soundexchange"),
    (("st-1", "--channel", "late"), "--channel is of many streams: leave STREAM out"),
    (("st-1", "--time-zone", "UTC"), "--time-zone is of many streams: leave STREAM out"),
]


@pytest.mark.parametrize("argv, said", WRONG, ids=[" ".join(argv) or "nothing" for argv, _ in WRONG])
def test_what_makes_no_sense_is_refused_in_a_sentence(typed: Run, argv: tuple[str, ...], said: str) -> None:
    code, out, err = typed(*argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize("many", ["-1", "nan", "many", "1e300"])
def test_listeners_are_a_number(typed: Run, many: str) -> None:
    code, out, err = typed("--since", "2026-11-01", "--until", "2026-11-30", "--format", "soundexchange", "--listeners", many)
    assert (code, out) == (2, "")
    assert "no number of listeners" in err or "expected one argument" in err
