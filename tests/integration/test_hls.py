"""A live stream over real HTTP, its faults included. Time is moved by hand: only a hung server costs real time."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from audio_media import Coded, coded
from audio_origin import EPOCH, Answer, Hand, Live, session_settings, settings
from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnavailable, SourceUnsupported, StreamNotFound
from earmark.model import Missing, Segment
from earmark.session import Signals, Source

MEDIA = {"duration_s": 24.0}


@pytest.fixture
def hand():
    return Hand()


def source(origin, hand, url, *, session=None, **kwargs):
    options = {k: kwargs.pop(k) for k in ("operator_named", "still_live", "resume") if k in kwargs}
    configured = settings(origin, **kwargs)
    return HlsSource(
        url_provider=url if callable(url) else lambda: url,
        http=Http(settings=configured, guard=Guard(settings=configured)),
        signals=hand,
        settings=configured,
        session=session_settings(**(session or {})),
        clock=hand.clock,
        now=hand.now,
        **options,
    )


def indices(pieces, media: Coded):
    """Which of the media's segments were heard; what was missing as (seconds, reason)."""
    return [media.segments.index(p.data) if isinstance(p, Segment) else (round(p.duration_s, 1), p.reason) for p in pieces]


def heard(source) -> list:
    return list(source.pieces())


def everything(media: Coded):
    return list(range(len(media.segments)))


# ------------------------------------------------------------------------------------------------ a stream as it should be


@pytest.mark.parametrize("media", [{}, {"container": "mp4"}, {"container": "aac"}, {"codec": "libmp3lame"}, {"video": True}], ids=str)
@pytest.mark.parametrize("clocks", [True, False])
def test_a_stream_is_heard_from_its_first_segment_to_its_last(origin, hand, media, clocks):
    made = coded(**MEDIA, **media)
    live = Live(origin, made, hand, head_s=4.5, ends=True, clocks=clocks)
    listening = source(origin, hand, live.url)
    pieces = heard(listening)
    assert indices(pieces, made) == everything(made)
    assert listening.end_reason == "endlist"
    assert listening.fetched_bytes > sum(map(len, made.segments))
    assert [p.clock is not None for p in pieces] == [clocks] * len(pieces)
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [c for p in pieces for c in decoder.push(p)] + decoder.flush()
    assert sum(len(c.samples) for c in chunks) / 8000 == pytest.approx(24.0, abs=0.1)
    assert not any(c.gap_before_s for c in chunks)


def test_it_is_a_session_source():
    def takes(_: Source) -> None: ...

    configured = settings()
    takes(HlsSource(url_provider=lambda: "", http=Http(settings=configured, guard=Guard(settings=configured)), signals=Signals(), settings=configured,
                    session=session_settings()))  # fmt: skip


def test_polls_follow_the_playlist_and_an_unchanged_one_is_not_sent_again(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5, ends=True)
    heard(source(origin, hand, live.url))
    polls = [asked for asked in origin.asked if asked.path.endswith("list.m3u8")]
    # 20 seconds, a poll for each of 2 seconds after news and of 1 second after none; and one to open.
    assert 10 <= len(polls) <= 23
    assert all("if-none-match" in asked.headers for asked in polls[2:])


def test_the_stream_is_joined_at_the_oldest_listed_segment_and_a_long_list_near_its_end(origin, hand):
    made = coded(duration_s=60.0)
    live = Live(origin, made, hand, head_s=40.5, window=30)
    hand.at(1.0, hand.hand_over)
    listening = source(origin, hand, live.url, session={"late_s": 20})
    assert indices(heard(listening), made)[0] == 10
    short = Live(origin, made, hand, path="/short", head_s=40.5, window=6)
    hand.leaving = False
    hand.at(hand.time_s + 1, hand.hand_over)
    assert indices(heard(source(origin, hand, short.url)), made)[0] == 14


MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=2373000,RESOLUTION=1280x720,CODECS="avc1.4D401F,mp4a.40.2"
/720/list.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=630000,RESOLUTION=640x360,CODECS="avc1.4D401F,mp4a.40.2"
/360/list.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"
/live/list.m3u8
"""


def test_of_several_renditions_the_one_without_video_is_fetched(origin, hand):
    made = coded(**MEDIA)
    Live(origin, made, hand, head_s=4.5, ends=True)
    origin.routes["/master.m3u8"] = Answer(MASTER.encode())
    listening = source(origin, hand, origin.url("/master.m3u8"))
    assert indices(heard(listening), made) == everything(made)
    assert listening.rendition == "audio only, 64 kbit/s, mp4a.40.2"
    assert not any(asked.path.startswith(("/720", "/360")) for asked in origin.asked)


# ------------------------------------------------------------------------------------------------ how it ends


def test_after_the_end_was_announced_what_is_still_listed_is_read(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    hand.at(4.0, hand.end)
    listening = source(origin, hand, live.url, session={"end_grace_s": 8})
    taken = indices(heard(listening), made)
    assert listening.end_reason == "stream_end"
    assert taken == list(range(len(taken)))
    # On air at 4.0 + 8 seconds: 16.5 s, eight segments.
    assert len(taken) in (7, 8)
    assert hand.time_s == pytest.approx(12, abs=2)


def test_a_worker_that_leaves_returns_at_once(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=12.5)
    listening = source(origin, hand, live.url)
    pieces = listening.pieces()
    next(pieces)
    hand.hand_over()
    assert list(pieces) == []
    assert hand.waits == 0


def test_a_worker_that_leaves_does_not_wait_for_a_segment(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=12.5)
    origin.routes[live.segment_path(1)] = Answer(status=503)
    hand.at(0.5, hand.hand_over)
    assert indices(heard(source(origin, hand, live.url)), made) == [0]


def test_nothing_new_for_long_is_an_end(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    live.stalls_at = 4
    listening = source(origin, hand, live.url, session={"silent_origin_s": 30})
    assert indices(heard(listening), made) == [0, 1, 2, 3]
    assert listening.end_reason == "silent_origin"
    assert 30 <= hand.time_s <= 40


def test_a_channel_that_is_said_to_be_live_is_only_stalled(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5, ends=True)
    live.stalls_at = 4
    hand.at(100.0, lambda: setattr(live, "stalls_at", None))
    asked = []

    def still_live():
        asked.append(hand.time_s)
        if len(asked) < 3:
            raise (AwsUnavailable("IVS does not answer"), AwsRefused("the role may not ask"))[len(asked) - 1]
        return True

    listening = source(origin, hand, live.url, session={"silent_origin_s": 30}, still_live=still_live)
    taken = indices(heard(listening), made)
    assert listening.end_reason == "endlist"
    assert len(asked) == 3
    assert taken == [0, 1, 2, 3, (6.0, "skipped"), *range(7, 13)], "the window went on without us while the playlist was frozen"


def test_a_channel_that_is_said_not_to_be_live_has_ended(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    live.stalls_at = 4
    listening = source(origin, hand, live.url, session={"silent_origin_s": 30}, still_live=lambda: False)
    assert indices(heard(listening), made) == [0, 1, 2, 3]
    assert listening.end_reason == "not_live"


def test_a_channel_that_is_not_there(origin, hand):
    def provider():
        raise StreamNotFound("the channel is not broadcasting")

    with pytest.raises(StreamNotFound, match="the channel is not broadcasting"):
        heard(source(origin, hand, provider))


def test_a_playlist_that_never_lists_a_segment_says_so(origin, hand):
    origin.routes["/empty.m3u8"] = Answer(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n")
    with pytest.raises(SourceUnavailable, match="127.0.0.1 has listed no segment for 30 s: is the stream on?"):
        heard(source(origin, hand, origin.url("/empty.m3u8"), session={"silent_origin_s": 30}))


# ------------------------------------------------------------------------------------------------ hiccups


HICCUPS = {
    "503": Answer(status=503, body=b"<html>busy</html>"),
    "404": Answer(status=404),
    "403": Answer(status=403),
    "HTML": Answer(b"<html>an error with status 200</html>"),
    "empty": Answer(b""),
    "truncated": Answer(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:10", claims_bytes=500),
    "hangs": Answer(hangs=True),
    "a megabyte": Answer(b"#EXTM3U\n" + b"#\n" * 600_000),
    "to elsewhere": Answer(status=302, headers={"Location": "http://169.254.169.254/latest/"}),
}


@pytest.mark.parametrize("hiccup", HICCUPS)
def test_a_playlist_that_fails_for_some_seconds_costs_nothing(origin, hand, hiccup):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5, ends=True)
    hand.at(6.0, lambda: origin.routes.__setitem__("/live/list.m3u8", HICCUPS[hiccup]))
    hand.at(12.0, lambda: origin.routes.__setitem__("/live/list.m3u8", live.answer))
    listening = source(origin, hand, live.url)
    assert indices(heard(listening), made) == everything(made)
    assert listening.end_reason == "endlist"


def test_an_origin_that_is_down_for_long_costs_what_left_the_window(origin, hand):
    made = coded(duration_s=60.0)
    live = Live(origin, made, hand, head_s=4.5, ends=True, window=5)
    hand.at(6.0, lambda: origin.routes.__setitem__("/live/list.m3u8", Answer(status=503)))
    hand.at(30.0, lambda: origin.routes.__setitem__("/live/list.m3u8", live.answer))
    taken = indices(heard(source(origin, hand, live.url)), made)
    ((lost_s, reason),) = [t for t in taken if isinstance(t, tuple)]
    assert reason == "origin_down"
    missing = set(everything(made)) - set(taken)
    assert lost_s == pytest.approx(2 * len(missing), abs=0.1)
    assert missing


def test_an_origin_that_stays_down_is_given_up_for_now(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    hand.at(6.0, lambda: origin.routes.__setitem__("/live/list.m3u8", Answer(status=503)))
    with pytest.raises(SourceUnavailable, match="127.0.0.1 answered 503 for the stream's playlist"):
        heard(source(origin, hand, live.url, session={"silent_origin_s": 30}))
    assert 30 <= hand.time_s <= 45


def test_a_stream_that_never_was_is_given_up_soon(origin, hand):
    with pytest.raises(SourceUnavailable, match="answered 404"):
        heard(source(origin, hand, origin.url("/nothing.m3u8?token=secret")))
    assert origin.count("/nothing.m3u8?token=secret") == 3
    assert hand.time_s < 10


def test_a_rendition_whose_address_expires_is_looked_up_again(origin, hand):
    made = coded(**MEDIA)
    first = Live(origin, made, hand, path="/one", head_s=4.5, ends=True)
    second = Live(origin, made, hand, path="/two", head_s=4.5, ends=True)
    addresses = iter(["/one/list.m3u8", "/two/list.m3u8"])
    origin.routes["/master.m3u8"] = lambda asked: Answer(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\n{next(addresses)}\n".encode())
    hand.at(9.0, lambda: origin.routes.__setitem__("/one/list.m3u8", Answer(status=403)))
    listening = source(origin, hand, origin.url("/master.m3u8"))
    assert indices(heard(listening), made) == everything(made)
    assert listening.end_reason == "endlist"
    assert origin.count("/master.m3u8") == 2, "no more readings than needed: each is a call to an API that allows few"
    assert origin.count(second.segment_path(8)) == 1
    assert first.url != second.url


def test_a_rendition_that_is_gone_and_a_channel_that_is_too(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    calls = []

    def provider():
        calls.append(hand.time_s)
        if len(calls) > 1:
            raise StreamNotFound("the channel is not broadcasting")
        return live.url

    hand.at(9.0, lambda: origin.routes.__setitem__("/live/list.m3u8", Answer(status=404)))
    with pytest.raises(StreamNotFound, match="the channel is not broadcasting"):
        heard(source(origin, hand, provider))
    assert hand.time_s < 15


def test_the_next_stream_of_the_same_channel_is_not_heard_as_this_one(origin, hand):
    """A channel's address stays: behind it, a minute after the end of one stream, another may be on. It has a session of its own."""
    made, following = coded(**MEDIA), coded(**MEDIA, seed=2)
    Live(origin, made, hand, path="/one", head_s=4.5)
    Live(origin, following, hand, path="/two", head_s=4.5, ends=True)
    variants = iter(["/one/list.m3u8", "/two/list.m3u8"])
    origin.routes["/master.m3u8"] = lambda asked: Answer(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\n{next(variants)}\n".encode())
    hand.at(9.0, lambda: origin.routes.__setitem__("/one/list.m3u8", Answer(status=404)))
    listening = source(origin, hand, origin.url("/master.m3u8"), still_live=lambda: hand.time_s < 9)
    taken = indices(heard(listening), made)
    assert taken == list(range(len(taken)))
    assert listening.end_reason == "not_live"


def test_a_maintenance_page_does_not_end_a_stream_that_was_one(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5)
    page = Answer(b"<!DOCTYPE html><html>We will be back soon</html>")
    hand.at(9.0, lambda: origin.routes.__setitem__("/live/list.m3u8", page))
    with pytest.raises(SourceUnavailable, match="is not an HLS playlist: it begins with '<!DOCTYPE html><html'"):
        heard(source(origin, hand, live.url, session={"silent_origin_s": 30}))
    with pytest.raises(SourceUnsupported):
        heard(source(origin, hand, live.url))  # one that never was
    resume = '{"sequence": 3}'
    with pytest.raises(SourceUnavailable, match="is not an HLS playlist"):
        heard(source(origin, hand, live.url, resume=resume))


def test_an_older_playlist_from_a_cache_is_passed_over(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=12.5, ends=True)
    stale = Answer(live.text().encode())
    hand.at(6.0, lambda: origin.routes.__setitem__("/live/list.m3u8", stale))
    hand.at(10.0, lambda: origin.routes.__setitem__("/live/list.m3u8", live.answer))
    assert indices(heard(source(origin, hand, live.url)), made) == everything(made)


@pytest.mark.parametrize("clocks", [True, False])
def test_an_encoder_that_starts_anew_counts_from_0(origin, hand, clocks):
    made, again = coded(**MEDIA), coded(**MEDIA, seed=2)
    Live(origin, made, hand, head_s=4.5, first_sequence=500, clocks=clocks)
    listening = source(origin, hand, origin.url("/live/list.m3u8"))

    def restart():
        after = Live(origin, again, hand, path="/again", first_sequence=0, ends=True, clocks=False)
        origin.routes["/live/list.m3u8"] = lambda asked: Answer(_below("/again", after.text()))

    hand.at(10.0, restart)
    pieces = heard(listening)
    fresh = [p for p in pieces if isinstance(p, Segment) and p.data in again.segments]
    assert [again.segments.index(p.data) for p in fresh] == everything(again)
    assert [p.discontinuity for p in fresh] == [True] + [False] * (len(fresh) - 1)
    old = [p for p in pieces if isinstance(p, Segment) and p.data in made.segments]
    assert [made.segments.index(p.data) for p in old] == list(range(len(old)))
    assert listening.end_reason == "endlist"


def _below(path, text):
    return "\n".join(line if not line or line.startswith("#") else f"{path}/{line}" for line in text.splitlines()).encode() + b"\n"


# ------------------------------------------------------------------------------------------------ segments


@pytest.mark.parametrize(
    "answer, reason",
    [
        (Answer(status=404), "segment_missing"),
        (Answer(status=500), "segment_missing"),
        (Answer(hangs=True), "segment_missing"),
        (Answer(b"x" * 100, claims_bytes=200), "segment_missing"),
        (Answer(b"x" * 10, claims_bytes=10_000_000_000), "segment_refused"),
        (Answer(b"x" * 60_000, dribbles=True), "segment_refused"),
        (Answer(status=302, headers={"Location": "http://169.254.169.254/"}), "segment_refused"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "segment_refused"),
    ],
    ids=["404", "500", "hangs", "broken off", "10 GB", "endless", "to metadata", "to a file"],
)
def test_a_segment_that_cannot_be_had_costs_that_segment(origin, hand, answer, reason):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    origin.routes[live.segment_path(3)] = answer
    pieces = heard(source(origin, hand, live.url, segment_bytes_max=50_000, read_timeout_s=0.05))
    assert indices(pieces, made) == [0, 1, 2, (2.0, reason), *everything(made)[4:]]
    assert pieces[3].duration_s == made.durations_s[3], "exactly what was claimed"


def test_a_segment_that_comes_late_is_heard(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    origin.routes[live.segment_path(3)] = [Answer(status=404), Answer(status=503), Answer(made.segments[3])]
    assert indices(heard(source(origin, hand, live.url)), made) == everything(made)


def test_a_missing_segment_is_left_when_it_is_no_longer_listed(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True, window=4)
    origin.routes[live.segment_path(0)] = Answer(status=404)
    taken = indices(heard(source(origin, hand, live.url, session={"late_s": 1000})), made)
    assert taken == [(2.0, "segment_missing"), *everything(made)[1:]]
    assert origin.count(live.segment_path(0)) <= 4


def test_a_segment_that_the_playlist_knows_to_be_missing_is_not_asked_for(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    live.before[2] = ["#EXT-X-GAP"]
    assert indices(heard(source(origin, hand, live.url)), made) == [0, 1, (2.0, "segment_missing"), *everything(made)[3:]]
    assert origin.count(live.segment_path(2)) == 0


def test_a_session_that_falls_behind_drops_to_the_live_edge(origin, hand):
    made = coded(duration_s=80.0)
    live = Live(origin, made, hand, head_s=12.5, ends=False, window=20)
    listening = source(origin, hand, live.url, session={"late_s": 20})
    taken = []
    for piece in listening.pieces():
        taken.append(piece)
        if len(taken) == 6:
            hand.wait(30.0)  # the compute thread was busy for so long
        if hand.time_s > 60:
            hand.hand_over()
    found = indices(taken, made)
    ((lost_s, reason),) = [t for t in found if isinstance(t, tuple)]
    assert reason == "late"
    missing = set(range(found[-1])) - set(found)
    assert lost_s == pytest.approx(2 * len(missing), abs=0.2)
    assert len(missing) >= 5


def test_files_named_by_a_playlist_are_not_read(origin, hand):
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "".join(f"#EXTINF:2,\nfile:///etc/passwd?{n}\n" for n in range(5)) + "#EXT-X-ENDLIST\n"
    origin.routes["/f.m3u8"] = Answer(text.encode())
    with pytest.raises(SourceUnsupported, match="none of the stream's first 3 segments can be used; of the last one: .*begins with file:"):
        heard(source(origin, hand, origin.url("/f.m3u8")))


def test_a_segment_that_claims_an_hour_is_refused_and_counts_for_no_more_than_allowed(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    lying = replace(made, durations_s=(*made.durations_s[:2], made.durations_s[2], *made.durations_s[3:]))
    origin.routes["/live/list.m3u8"] = lambda asked: Answer(live.text().replace(f"#EXTINF:{lying.durations_s[2]:.6f},\n2.ts", "#EXTINF:3600,\n2.ts").encode())
    taken = indices(heard(source(origin, hand, live.url, session={"late_s": 10_000}, segment_s_max=60)), made)
    assert taken == [0, 1, (60.0, "segment_refused"), *everything(made)[3:]]
    assert origin.count(live.segment_path(2)) == 0


def test_byte_ranges_are_cut_out_with_or_without_the_servers_help(origin, hand):
    made = coded(**MEDIA)
    whole = b"".join(made.segments)

    def ranged(asked):
        begin, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
        return Answer(whole[int(begin) : int(last) + 1], status=206)

    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:3"]
    for data, duration_s in zip(made.segments, made.durations_s, strict=True):
        lines += [f"#EXTINF:{duration_s},", f"#EXT-X-BYTERANGE:{len(data)}" + ("@0" if len(lines) == 2 else ""), "all.ts"]
    origin.routes["/r/list.m3u8"] = Answer("\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode())
    for route in (ranged, Answer(whole)):
        origin.routes["/r/all.ts"] = route
        assert indices(heard(source(origin, hand, origin.url("/r/list.m3u8"))), made) == everything(made)
    origin.routes["/r/all.ts"] = Answer(whole[:100], status=206)
    assert indices(heard(source(origin, hand, origin.url("/r/list.m3u8"))), made)[0] == (round(made.durations_s[0], 1), "segment_missing")


# ------------------------------------------------------------------------------------------------ encryption


KEY = bytes(range(16))


def encrypted(media: Coded, first_sequence: int, iv: bytes | None = None) -> Coded:
    def sealed(index, data):
        padder = PKCS7(128).padder()
        encryptor = Cipher(AES(KEY), CBC(iv or (first_sequence + index).to_bytes(16))).encryptor()
        return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()

    return replace(media, segments=tuple(sealed(index, data) for index, data in enumerate(media.segments)))


@pytest.mark.parametrize("iv", [None, bytes(range(16, 32))])
def test_aes_128_by_sequence_number_or_iv(origin, hand, iv):
    made = coded(**MEDIA)
    live = Live(origin, encrypted(made, 100, iv), hand, head_s=8.5, ends=True)
    live.before[0] = ['#EXT-X-KEY:METHOD=AES-128,URI="/key"' + (f",IV=0x{iv.hex()}" if iv else "")]
    origin.routes["/key"] = Answer(KEY)
    origin.routes["/live/list.m3u8"] = _with_key(live, live.before[0])
    assert indices(heard(source(origin, hand, live.url)), made) == everything(made)
    assert origin.count("/key") == 1


def _with_key(live, lines):
    """The tag stands before the first segment listed, whichever it is."""
    return lambda asked: Answer(live.text().replace(lines[0] + "\n", "").replace("#EXT-X-VERSION:6\n", "#EXT-X-VERSION:6\n" + lines[0] + "\n").encode())


@pytest.mark.parametrize(
    "key, uri, why",
    [
        (Answer(bytes(16)), "/key", "cannot be decrypted with the key at 127.0.0.1: the wrong key"),
        (Answer(b"<html>log in</html>"), "/key", "has 19 bytes, not 16"),
        (Answer(KEY), "http://169.254.169.254/key", "169.254.169.254, which is a metadata service: that is never fetched"),
        (Answer(KEY), "file:///etc/passwd", "begins with file:"),
        (Answer(b"x" * 100_000), "/key", "where at most 1,024 are read"),
    ],
    ids=["wrong", "no key", "metadata", "file", "large"],
)
def test_a_key_that_is_wrong_or_forbidden(origin, hand, key, uri, why):
    made = coded(**MEDIA)
    live = Live(origin, encrypted(made, 100), hand, head_s=8.5, ends=True)
    live.before[0] = [f'#EXT-X-KEY:METHOD=AES-128,URI="{uri}"']
    origin.routes["/live/list.m3u8"] = _with_key(live, live.before[0])
    origin.routes["/key"] = key
    with pytest.raises(SourceUnsupported, match="first 3 segments can be used") as caught:
        heard(source(origin, hand, live.url))
    assert why in str(caught.value)


def test_drm_is_said_to_be_drm(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5)
    live.before[0] = ['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"']
    origin.routes["/live/list.m3u8"] = _with_key(live, live.before[0])
    with pytest.raises(SourceUnsupported, match=r"encrypted with SAMPLE-AES \(com.apple.streamingkeydelivery\)"):
        heard(source(origin, hand, live.url))


# ------------------------------------------------------------------------------------------------ what is no stream


@pytest.mark.parametrize(
    "answer, why",
    [
        (Answer(b"<!DOCTYPE html><html>"), "what 127.0.0.1 serves is not an HLS playlist: it begins with '<!DOCTYPE html><html', not #EXTM3U"),
        (Answer(b""), "what 127.0.0.1 serves is not an HLS playlist: it is empty"),
        (Answer(status=302, headers={"Location": "/p.m3u8"}), "127.0.0.1 redirects more than 5 times: the stream is not followed any further"),
        (
            Answer(status=301, headers={"Location": "http://169.254.169.254/latest/meta-data/"}),
            "points at 169.254.169.254, which is a metadata service: that is never fetched",
        ),
        (Answer(b"#EXTM3U\n" + b"# \n" * 500_000), "127.0.0.1 announces 1,500,008 bytes where at most 1,000,000 are read"),
        (Answer(b"#EXTM3U\n" + b"# \n" * 400_000, dribbles=True), "127.0.0.1 sends more than the 1,000,000 bytes that are read at most"),
        (Answer(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"), "lists no rendition"),
        (Answer(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttps://evil.example/x.m3u8\n"), "evil.example, which is not fetched from"),
        (Answer(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\np.m3u8\n"), "a list of renditions where one of segments was expected"),
    ],
    ids=["HTML", "empty", "endless redirects", "to metadata", "1.5 MB", "endless", "no rendition", "elsewhere", "itself"],
)
def test_what_is_no_stream_is_said_in_a_sentence(origin, hand, answer, why):
    origin.routes["/p.m3u8"] = answer
    with pytest.raises(SourceUnsupported) as caught:
        heard(source(origin, hand, origin.url("/p.m3u8")))
    assert why in str(caught.value)
    assert hand.waits == 0, "and at once"


def test_a_server_that_hangs_is_given_up_for_now(origin, hand):
    origin.routes["/p.m3u8"] = Answer(hangs=True)
    with pytest.raises(SourceUnavailable, match="127.0.0.1 did not answer in time"):
        heard(source(origin, hand, origin.url("/p.m3u8"), read_timeout_s=0.05))


def test_the_operators_own_host_may_be_listened_to_and_no_other(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=4.5, ends=True)
    port = live.url.split(":")[2].partition("/")[0]
    configured = settings(allow_http=True, allow_private=[f"radio.example:{port}"])
    guard = Guard(settings=configured, resolve=lambda host, port: ["127.0.0.1"])

    def listening(host, **kwargs):
        return HlsSource(url_provider=lambda: f"http://{host}:{port}/live/list.m3u8", http=Http(settings=configured, guard=guard), signals=hand,
                         settings=configured, session=session_settings(), clock=hand.clock, **kwargs)  # fmt: skip

    with pytest.raises(SourceUnsupported, match="not fetched from"):
        heard(listening("other.example"))
    with pytest.raises(SourceUnsupported, match="not a public address"):
        heard(listening("other.example", operator_named=True))
    assert indices(heard(listening("radio.example")), made) == everything(made)


# ------------------------------------------------------------------------------------------------ the next owner


@pytest.mark.parametrize("clocks", [True, False])
def test_the_next_owner_goes_on_and_what_is_gone_was_lost_with_the_worker(origin, hand, clocks):
    made = coded(duration_s=48.0)
    live = Live(origin, made, hand, head_s=8.5, ends=True, clocks=clocks)
    pieces = []
    for piece in source(origin, hand, live.url).pieces():
        pieces.append(piece)
        if len(pieces) == 5:
            hand.hand_over()
    hand.leaving, hand.stop = False, None
    hand.wait(18.0)
    rest = heard(source(origin, hand, live.url, resume=pieces[-1].position))
    taken = indices(pieces + rest, made)
    ((lost_s, reason),) = [t for t in taken if isinstance(t, tuple)]
    assert reason == "worker_lost"
    missing = set(everything(made)) - set(taken)
    assert lost_s == pytest.approx(2 * len(missing), abs=0.05)
    assert len(missing) >= 3
    assert [t for t in taken if isinstance(t, int)] == sorted(set(taken) - {(lost_s, reason)})


def test_a_quick_hand_over_loses_nothing_not_even_a_sample(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    chunks, position, start_s = [], "", 0.0
    while True:
        hand.leaving, hand.stop = False, None
        listening = source(origin, hand, live.url, resume=position)
        decoder = StreamDecoder(segment_s_max=60, start_s=start_s)
        for count, piece in enumerate(listening.pieces(), 1):
            chunks += decoder.push(piece)
            position = piece.position
            if count == 3:
                hand.hand_over()
        chunks += decoder.flush()
        start_s = decoder.position_s
        if listening.end_reason == "endlist":
            break
    assert not any(c.gap_before_s for c in chunks)
    assert sum(len(c.samples) for c in chunks) == pytest.approx(24.0 * 8000 + 171, abs=171)
    assert np.all(np.diff([c.start_s for c in chunks]) > 0)


def test_positions_name_the_place_behind_each_piece(origin, hand):
    made = coded(**MEDIA)
    live = Live(origin, made, hand, head_s=8.5, ends=True)
    origin.routes[live.segment_path(2)] = Answer(b"x", claims_bytes=10_000_000_000)
    pieces = heard(source(origin, hand, live.url))
    assert isinstance(pieces[2], Missing)
    assert [f'"sequence": {100 + n}' in p.position for n, p in enumerate(pieces)] == [True] * len(pieces)
    assert pieces[0].clock == EPOCH
