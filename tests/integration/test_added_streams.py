"""Streams that somebody adds and stops by hand: rows of the database, and what a user types and reads."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from audio_origin import Answer, Origin
from control_rows import leases_of, pass_time, row, rows, run
from earmark.cli import main
from earmark.control import registry
from earmark.control.leases import Ended
from earmark.control.static import StaticStreams
from earmark.errors import BadSettings, StreamNotFound
from earmark.local.aws import AwsStandIn
from earmark.model import Checkpoint
from earmark.postgres import Pool, transaction
from earmark.settings import StaticStream
from radio_station import MP3_FRAME_S, Air, Mount, RadioServer, mp3

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RADIO = StaticStream(name="radio", url="https://radio.example/live?token=s3cret", kind="radio", tags={"city": "Graz"})
Typed = Callable[..., tuple[int, str, str]]


def add(pool: Pool, stream: StaticStream = RADIO) -> bool:
    with transaction(pool) as connection:
        return registry.add(connection, stream)


def stop(pool: Pool, name: str = "radio") -> list[str] | None:
    with transaction(pool) as connection:
        return registry.stop(connection, name)


def ensured(pool: Pool, at: datetime = NOON, *static: StaticStream) -> list[str]:
    return StaticStreams(pool=pool, streams=static, retry_s=60).ensure(at)


# ------------------------------------------------------------------------------------------------ rows


def test_an_added_stream_is_listened_to_like_one_of_the_settings(pool: Pool) -> None:
    assert add(pool)
    assert add(pool, StaticStream(name="show", url="s3://bucket/show/index.m3u8"))
    assert ensured(pool, NOON, StaticStream(name="tv", url="https://tv.example/a.m3u8")) == ["tv-2026-11-21", "radio-2026-11-21", "show-2026-11-21"]
    assert ensured(pool) == []
    leases = {lease.stream.stream_id: lease.stream for lease in leases_of(pool, "one").claim(3)}
    radio, show = leases["radio-2026-11-21"], leases["show-2026-11-21"]
    assert (radio.source, radio.channel_name, radio.url, radio.tags) == ("radio", "radio", RADIO.url, {"city": "Graz"})
    assert (show.source, show.url) == ("hls", "s3://bucket/show/index.m3u8")


def test_to_add_it_again_changes_nothing_and_another_under_its_name_is_refused(pool: Pool) -> None:
    assert [add(pool), add(pool)] == [True, False]
    for other in ({"url": "https://radio.example/other"}, {"kind": "hls"}, {"tags": {}}):
        with pytest.raises(BadSettings, match="radio is added already, with another address, kind or tags: `earmark streams stop radio` first"):
            add(pool, RADIO.model_copy(update=other))


def test_a_session_of_an_added_stream_is_cut_at_midnight_and_goes_on_where_it_was_cut(pool: Pool) -> None:
    add(pool)
    ensured(pool, NOON)
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    run(pool, "update stream set checkpoint = %s", Checkpoint(position_s=60.0, heard_s=60.0, source_position='{"at": 7}').to_json())
    one.release(lease, Ended("cut"))
    assert ensured(pool, NOON + timedelta(hours=12)) == ["radio-2026-11-22"]
    assert one.claim(1)[0].checkpoint == Checkpoint(source_position='{"at": 7}')


def test_a_stopped_stream_ends_and_does_not_come_back(pool: Pool) -> None:
    add(pool)
    ensured(pool)
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    assert stop(pool) == ["radio-2026-11-21"]
    assert one.renew().stop == {"radio-2026-11-21"}
    one.release(lease, Ended("stream_end"))
    assert stop(pool) == []
    pass_time(pool, 3_600)
    assert ensured(pool) == []
    assert ensured(pool, NOON + timedelta(days=1)) == []
    assert row(pool, "radio-2026-11-21")["stop_reason"] == "stopped"


def test_one_that_is_added_again_the_same_day_has_a_session_of_its_own(pool: Pool) -> None:
    add(pool)
    now = datetime.now(UTC)
    (first,) = ensured(pool, now)
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    stop(pool)
    assert add(pool, RADIO.model_copy(update={"url": "https://radio.example/moved"}))
    assert ensured(pool, now) == []  # the other is still on
    one.release(lease, Ended("stream_end"))
    (second,) = ensured(pool, now)
    assert second.startswith("radio-2")
    assert second.endswith("Z")
    assert row(pool, second)["url"] == "https://radio.example/moved"
    assert row(pool, first)["state"] == "ended"
    assert ensured(pool, now) == []
    (lease,) = one.claim(1)
    one.release(lease, Ended("silent_origin"))
    pass_time(pool, 61)
    assert ensured(pool, now) == [second]  # its origin may have something to say by now


def test_nobody_opens_what_somebody_stops_at_that_moment(pool: Pool) -> None:
    """Whoever opens a session holds the row of its stream until it is open, and whoever stops it is behind that."""
    add(pool)
    opened, stopped = threading.Event(), list[list[str] | None]()
    with transaction(pool) as opening:
        (one,) = registry.unheard(opening)
        assert registry.still_wanted(opening, one)
        stopping = threading.Thread(target=lambda: (opened.wait(5), stopped.append(stop(pool))))
        stopping.start()
        opening.execute("insert into stream (stream_id, source, channel_name, url, wanted_at) values ('radio-x', 'radio', 'radio', 'https://r', now())")
        opened.set()
        stopping.join(0.3)
        assert stopping.is_alive()
    stopping.join(5)
    assert stopped == [["radio-x"]]
    with transaction(pool) as late:
        assert not registry.still_wanted(late, one)


def test_a_name_of_the_settings_is_the_settings(pool: Pool) -> None:
    add(pool)
    own = StaticStream(name="radio", url="https://own.example/live.m3u8")
    streams = StaticStreams(pool=pool, streams=[own], retry_s=60)
    assert streams.ensure(NOON) == ["radio-2026-11-21"]
    assert streams.ensure(NOON) == []
    assert row(pool, "radio-2026-11-21")["url"] == own.url


def test_a_kind_of_a_newer_version_is_left_to_it(pool: Pool) -> None:
    run(pool, "alter table added_stream drop constraint added_stream_kind_check")
    run(pool, "insert into added_stream (name, url, kind) values ('later', 'srt://x', 'srt')")
    add(pool)
    assert ensured(pool) == ["radio-2026-11-21"]
    with transaction(pool) as connection:
        assert [one.stream.name for one in registry.added(connection)] == ["radio"]


def test_what_was_never_there_cannot_be_stopped(pool: Pool) -> None:
    assert stop(pool) is None
    with transaction(pool) as connection, pytest.raises(StreamNotFound, match="neither a stream that was added nor a session is called 'radio'"):
        registry.stop_session(connection, "radio")


# ------------------------------------------------------------------------------------------------ as a user types it


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dsn: str) -> Typed:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def call(*argv: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(("streams", *argv))
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


@pytest.fixture
def server() -> Iterator[RadioServer]:
    with RadioServer().running() as running:
        running.begin -= 5.0
        running.mounts["/live.mp3"] = Mount(air=Air(frames=mp3(6.0), frame_s=MP3_FRAME_S, loops=True))
        running.mounts["/live.mp3?token=s3cret"] = running.mounts["/live.mp3"]
        yield running


def test_what_a_stream_is_is_found_out_and_its_secret_is_not_shown(typed: Typed, pool: Pool, server: RadioServer, origin: Origin) -> None:
    origin.routes["/live"] = Answer(b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n")
    allowed = f"{server.host},{origin.host}"
    url = f"{server.url('/live.mp3')}?token=s3cret"
    masked = url.replace("token=s3cret", "**********")
    assert typed("add", url, "--name", "radio", "--tag", "city=Graz", "genre=jazz", EARMARK_HLS__ALLOW_PRIVATE=allowed) == (
        0,
        f"radio is added: radio at {masked}, heard from now on\n",
        "",
    )
    assert typed("add", url, "--name", "radio", "--tag", "city=Graz", "--tag", "genre=jazz") == (0, f"radio is there already: radio at {masked}\n", "")
    assert typed("add", origin.url("/live"), "--name", "tv")[1].startswith("tv is added: hls at http://")
    assert typed("add", "s3://bucket/show/index.m3u8", "--name", "show") == (0, "show is added: s3 at s3://bucket/show/index.m3u8, heard from now on\n", "")
    assert [(r["name"], r["kind"], r["tags"]) for r in rows(pool, "select * from added_stream order by added_at")] == [
        ("radio", "radio", {"city": "Graz", "genre": "jazz"}),
        ("tv", "hls", {}),
        ("show", "s3", {}),
    ]


def test_the_list_shows_streams_of_the_settings_and_added_ones_heard_or_not(typed: Typed, pool: Pool) -> None:
    typed("add", "https://radio.example/live?token=s3cret", "--name", "radio", "--kind", "radio")
    typed("add", "https://tv.example/a.m3u8", "--name", "tv", "--kind", "hls")
    static = json.dumps([{"name": "one", "url": "https://one.example/live.m3u8?key=s3cret"}, {"name": "tv", "url": "https://own.example/live.m3u8"}])
    settings = {"EARMARK_STREAMS__STATIC": static}
    twice = "tv is in streams.static of the settings and was added to the database, too: the settings' is heard; give one of them another name"
    code, out, err = typed("list", **settings)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "one  idle  hls at https://one.example/live.m3u8?********** (streams.static)",
        f"tv  idle  hls at https://own.example/live.m3u8 (streams.static)  {twice}",
        "radio  idle  radio at https://radio.example/live?********** (added)",
    ]
    ensured(pool)
    (lease,) = leases_of(pool, "one").claim(1)
    leases_of(pool, "one").release(lease, Ended("failed", "what radio.example serves is text/html"))
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, end_reason = 'failed', last_error = 'a page' where channel_name = 'radio'")
    _, out, _ = typed("list", "--json", **settings)
    listed = {line["stream_id"] or line["name"]: line for line in map(json.loads, out.splitlines())}
    assert "s3cret" not in out
    assert (listed["radio"]["state"], listed["radio"]["wanted_by"], listed["radio"]["last_error"]) == ("idle", "added", "a page")
    assert listed["tv-2026-11-21"]["name"] == "tv"
    assert twice in listed["tv-2026-11-21"]["last_error"]
    typed("stop", "radio")
    _, out, _ = typed("list", **settings)
    assert "radio" not in out
    _, out, _ = typed("list", "--all", **settings)
    assert "radio  stopped  failed  radio at https://radio.example/live?**********  a page" in out.splitlines()


def test_a_stream_is_stopped_by_its_name_or_by_the_id_of_a_session(typed: Typed, pool: Pool) -> None:
    for name in ("radio", "tv"):
        typed("add", f"https://{name}.example/live", "--name", name, "--kind", "radio")
    ensured(pool)
    assert typed("stop", "radio") == (0, "radio is stopped: radio-2026-11-21 ends\n", "")
    assert typed("stop", "radio") == (0, "radio is stopped: no session of it was on\n", "")
    assert typed("stop", "tv-2026-11-21") == (0, "tv is stopped: tv-2026-11-21 ends\n", "")
    run(pool, "insert into stream (stream_id, source, wanted_at) values ('st-1', 'ivs', now())")
    assert typed("stop", "st-1") == (0, "st-1 ends\n", "")
    assert typed("stop", "st-1") == (0, "st-1 has ended, or was stopped already\n", "")
    assert {r["stream_id"] for r in rows(pool, "select stream_id from stream where stop_reason = 'stopped'")} == {"radio-2026-11-21", "tv-2026-11-21", "st-1"}
    code, _, err = typed("stop", "nothing")
    assert (code, err) == (2, "earmark: neither a stream that was added nor a session is called 'nothing': `earmark streams list` shows what there is\n")


def test_a_stream_of_the_settings_is_stopped_in_the_settings(typed: Typed, pool: Pool) -> None:
    static = StaticStream(name="radio", url="https://own.example/live.m3u8")
    ensured(pool, NOON, static)
    settings = {"EARMARK_STREAMS__STATIC": json.dumps([{"name": "radio", "url": static.url}])}
    code, _, err = typed("stop", "radio", **settings)
    assert code == 2
    assert err == "earmark: radio is in streams.static of the settings: take it out there; the id of a session would end that session alone\n"
    assert typed("add", "https://radio.example/live", "--name", "radio", "--kind", "radio")[0] == 2
    code, out, _ = typed("stop", "radio-2026-11-21")
    assert code == 0
    assert out == "radio-2026-11-21 ends; radio is in streams.static of the settings, and is heard again from the next session on\n"
    assert ensured(pool, NOON, static) == []


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["file:///etc/passwd", "--name", "x"], "the address is not one that is listened to: https://HOST/PATH, http://HOST/PATH or s3://BUCKET/PATH"),
        (["rtmp://radio.example/live", "--name", "x"], "the address is not one that is listened to"),
        (["s3://bucket", "--name", "x"], "the address is not one that is listened to"),
        (["", "--name", "x"], "the address is not one that is listened to"),
        (["https://radio.example/\udcff", "--name", "x"], "the address is no text"),
        (["https://radio.example/live", "--name", "../x"], "a stream cannot be called '../x': up to 96 letters, digits and . _ = + @ -"),
        (["https://radio.example/live", "--name", "x" * 97], "a stream cannot be called"),
        (["https://radio.example/live", "--name", "x", "--kind", "s3"], "the stream x is of kind s3, so its url has to begin with s3://"),
        (["s3://bucket/a.m3u8", "--name", "x", "--kind", "radio"], "the url of the stream x begins with s3://, so its kind is s3 and not radio"),
        (["https://radio.example/live", "--name", "x", "--kind", "radio", "--tag", "city"], "'city' is no tag: write --tag KEY=VALUE"),
        (["https://radio.example/live", "--name", "x", "--kind", "radio", "--tag", "=Graz"], "'=Graz' is no tag"),
        (["http://169.254.169.254/latest/meta-data", "--name", "x"], "which is a metadata service: that is never fetched"),
        (["https://user:pa55@radio.example/live", "--name", "x", "--kind", "radio"], "names no host, or a user, and is not fetched"),
        (["http://127.0.0.1:1/live", "--name", "x"], "what is at the address cannot be found out: 127.0.0.1 cannot be reached"),
    ],
)
def test_what_cannot_be_listened_to_is_refused_in_a_sentence(typed: Typed, pool: Pool, argv: list[str], sentence: str) -> None:
    code, out, err = typed("add", *argv)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "pa55" not in err
    assert rows(pool, "select 1 from added_stream") == []


def test_a_page_is_no_stream(typed: Typed, origin: Origin) -> None:
    origin.routes["/page"] = Answer(b"<html>", headers={"Content-Type": "text/html"})
    code, _, err = typed("add", origin.url("/page"), "--name", "x")
    assert code == 2
    assert err.endswith("it begins with '<html>'; say --kind hls or --kind radio\n")


def test_what_the_settings_at_hand_do_not_allow_is_said_and_added_since_a_daemon_has_its_own(typed: Typed, server: RadioServer) -> None:
    code, out, err = typed("add", server.url("/live.mp3"), "--name", "near")
    assert (code, out.startswith("near is added")) == (0, True)
    assert "a daemon with the settings that are here would not listen to it" in err
    assert "hls.allow_http" in err
    _, _, err = typed("add", "https://10.0.0.1/live.mp3", "--name", "nearer", "--kind", "radio")
    assert "add 10.0.0.1:443 to hls.allow_private if that is meant" in err


def test_a_bucket_is_not_looked_at(typed: Typed, aws: AwsStandIn) -> None:
    """Whoever types the command need not be allowed to read it: the daemon's role is."""
    assert typed("add", "s3://nobody/knows.m3u8", "--name", "x")[0] == 0
