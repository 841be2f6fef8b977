"""Advertisements, slates and low-latency playlists: everything that is listed is heard, as what it is, and time goes on."""

import numpy as np
import pytest

from audio_media import coded
from audio_origin import Answer, Hand, Live, session_settings, settings
from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.model import Missing, Segment

ADVERTISEMENT = {"duration_s": 6.0, "rate_hz": 44_100, "seed": 7}


@pytest.fixture
def hand():
    return Hand()


def source(origin, hand, url, *others, **changes):
    configured = settings(origin, *others, **changes)
    http = Http(settings=configured, guard=Guard(settings=configured))
    return HlsSource(url_provider=lambda: url, http=http, signals=hand, settings=configured, session=session_settings(), clock=hand.clock, now=hand.now)


def heard(pieces):
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [chunk for piece in pieces for chunk in decoder.push(piece)] + decoder.flush()
    gaps = [(round(chunk.gap_before_s, 1), chunk.gap_reason) for chunk in chunks if chunk.gap_before_s]
    return np.concatenate([chunk.samples for chunk in chunks]), gaps, decoder.position_s


def in_order(made, broken):
    """The same bytes, decoded as one list: what has to come out."""
    return [Segment(data=data, container="mpegts", duration_s=2.0, discontinuity=index in broken, fetched_at=Hand().now()) for index, data in enumerate(made)]


def with_break(origin, programme, advertisement, *, tags=(), host="", query=""):
    """Four segments of the programme, three of an advertisement, four more; all of it listed at once, and over."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:3", "#EXT-X-MEDIA-SEQUENCE:40"]
    order = []
    for index, data in enumerate(programme.segments[:8]):
        if index == 4:
            lines += ["#EXT-X-DISCONTINUITY", *tags]
            for place, spot in enumerate(advertisement.segments[:3]):
                origin.routes[f"/ads/{place}.ts"] = Answer(spot)
                lines += [f"#EXTINF:{advertisement.durations_s[place]:.3f},", f"{host}/ads/{place}.ts{query}"]
                order.append(spot)
            lines += ["#EXT-X-DISCONTINUITY", "#EXT-X-CUE-IN"]
        origin.routes[f"/show/{index}.ts"] = Answer(data)
        lines += [f"#EXTINF:{programme.durations_s[index]:.3f},", f"{index}.ts"]
        order.append(data)
    origin.routes["/show/list.m3u8"] = Answer("\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode())
    return origin.url("/show/list.m3u8"), order


TAGS = {
    "plain": [],
    "cue": ["#EXT-X-CUE-OUT:30.000", "#EXT-X-CUE-OUT-CONT:ElapsedTime=2.0,Duration=30"],
    "scte35": [
        '#EXT-X-DATERANGE:ID="ad-1",CLASS="com.apple.hls.interstitial",START-DATE="2026-03-04T05:06:15Z",DURATION=30.0,SCTE35-OUT=0xFC002F0000',
        "#EXT-OATCLS-SCTE35:/DAlAAAAAAAAAP/wFAUAAAABf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo=",
    ],
    "damaged": ["#EXT-X-DATERANGE:ID=,,,=x", "#EXT-X-CUE-OUT:nonsense", "#EXT-X-ASSET:CAID="],
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
def test_an_advertisement_is_heard_as_the_rest_and_nothing_around_it_is_lost(origin, hand, tags):
    """Of another rate, on another clock, by another encoder."""
    programme, advertisement = coded(duration_s=16.0), coded(**ADVERTISEMENT)
    url, order = with_break(origin, programme, advertisement, tags=tags)
    pieces = list(source(origin, hand, url).pieces())
    assert [piece.data for piece in pieces] == order
    assert [index for index, piece in enumerate(pieces) if piece.discontinuity] == [4, 7]
    samples, gaps, position_s = heard(pieces)
    assert gaps == []
    assert np.array_equal(samples, heard(in_order(order, {4, 7}))[0])
    assert position_s == pytest.approx(sum(programme.durations_s[:8]) + sum(advertisement.durations_s[:3]), abs=0.15)


def test_an_advertisement_from_a_host_that_is_not_allowed_is_a_gap_as_long_as_it(origin, hand):
    programme, advertisement = coded(duration_s=16.0), coded(**ADVERTISEMENT)
    url, _ = with_break(origin, programme, advertisement, host="https://ads.example.com")
    pieces = list(source(origin, hand, url).pieces())
    assert [piece.reason for piece in pieces if isinstance(piece, Missing)] == ["segment_refused"] * 3
    samples, gaps, position_s = heard(pieces)
    assert sum(gap_s for gap_s, _ in gaps) == pytest.approx(sum(advertisement.durations_s[:3]), abs=0.2)
    assert position_s == pytest.approx(len(samples) / 8_000 + sum(advertisement.durations_s[:3]), abs=0.1)


def test_a_slate_without_sound_is_a_gap_and_the_programme_goes_on_behind_it(origin, hand):
    programme, slate = coded(duration_s=16.0), coded(duration_s=6.0, audio=False, video=True)
    url, _ = with_break(origin, programme, slate)
    samples, gaps, _ = heard(source(origin, hand, url).pieces())
    assert len(samples) / 8_000 == pytest.approx(sum(programme.durations_s[:8]), abs=0.15)
    assert sum(gap_s for gap_s, _ in gaps) == pytest.approx(sum(slate.durations_s[:3]), abs=0.1)
    assert {reason for _, reason in gaps} == {"segment_undecodable"}


# ------------------------------------------------------------------------------------------------ low latency


def low_latency(live):
    """The same stream as a server of low-latency HLS tells it: parts before whole segments, and a hint of the next."""
    plain = live.text

    def text():
        lines = []
        for line in plain().splitlines():
            if line.startswith("#EXT-X-TARGETDURATION"):
                lines += [line, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=1.0", "#EXT-X-PART-INF:PART-TARGET=0.5"]
            elif line.startswith("#EXTINF"):
                lines += [f'#EXT-X-PART:DURATION=0.5,URI="part-{n}.ts"{",INDEPENDENT=YES" if not n else ""}' for n in range(4)] + [line]
            else:
                lines.append(line)
        if "#EXT-X-ENDLIST" not in lines:
            lines += ['#EXT-X-PART:DURATION=0.5,URI="next-0.ts"', '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="next-1.ts"']
        lines.append('#EXT-X-RENDITION-REPORT:URI="../other/list.m3u8",LAST-MSN=7,LAST-PART=2')
        return "\n".join(lines) + "\n"

    live.text = text


def test_a_low_latency_playlist_is_read_plainly(origin, hand):
    """Whole segments, each once; no part, no hint, and no delta is asked for."""
    made = coded(duration_s=24.0)
    live = Live(origin, made, hand, head_s=4.5, ends=True)
    low_latency(live)
    listening = source(origin, hand, live.url)
    pieces = list(listening.pieces())
    assert [made.segments.index(piece.data) for piece in pieces] == list(range(len(made.segments)))
    assert not [asked.path for asked in origin.asked if "part" in asked.path or "next" in asked.path or "_HLS" in asked.path]
    assert heard(pieces)[1] == []


def test_a_delta_that_a_cache_answers_with_is_read_for_what_it_is(origin, hand):
    """EXT-X-SKIP: what it leaves out was listed before; its numbers go on behind it."""
    made = coded(duration_s=24.0)
    live = Live(origin, made, hand, head_s=6.5, ends=True, window=6)
    plain = live.text

    def text():
        lines, listed = plain().splitlines(), live.listed()
        if hand.time_s < 3 or len(listed) < 6:
            return "\n".join(lines) + "\n"
        first = [index for index, line in enumerate(lines) if not line.startswith("#")][2]
        head = [line for line in lines[:4] if line.startswith("#EXT")]
        return "\n".join([*head, "#EXT-X-SKIP:SKIPPED-SEGMENTS=3", *lines[first + 1 :]]) + "\n"

    live.text = text
    pieces = list(source(origin, hand, live.url).pieces())
    assert [made.segments.index(piece.data) for piece in pieces] == list(range(len(made.segments)))
