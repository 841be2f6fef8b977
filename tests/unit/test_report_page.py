"""`report.html` as text: it adds up, explains its plays, stays in its bounds, and nothing in it is taken for code."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits.page import details
from earmark.hits.page.pictures import pictures
from earmark.hits.page.seconds import Seen, shown_s
from earmark.hits.proof.evidence import evidence_document
from earmark.hits.record import Line
from earmark.hits.reports import report
from earmark.hits.reports.portion import Period, Portion
from earmark.hits.reports.report import StreamReport
from earmark.hits.reports.totals import Totals
from earmark.hits.unidentified import unidentified
from earmark.model import Gap, Music, Stretch

SPANS = st.tuples(st.integers(0, 9_000), st.integers(10, 1_000)).map(lambda span: (span[0] / 10, (span[0] + span[1]) / 10))


def line(begin_s, end_s, *, owner="Paper Boat Rights Ltd", track_id="t-1", **changes):
    track = replace(samples.TRACK, track_id=track_id, rights_holder=owner, title=f"Title of {track_id}")
    return Line.of(samples.hit(samples.play(track_id, begin_s=begin_s, length_s=end_s - begin_s, **{"state": "closed"} | changes), track=track))


def a_report(*lines, gaps=(), music=(), silence=(), speech=(), position_s=1_000.0):
    sounds = {"silence": silence, "speech": speech}
    checkpoint = samples.checkpoint(position_s, gaps=gaps, **sounds, state="ended", end_reason="stream_end", music=Music(stretches=music, heard_s=1.0))
    return StreamReport(
        stream=samples.STREAM, checkpoint=checkpoint, plays=tuple(sorted(lines, key=lambda one: one.begin_s)), worker="w", updated_at=samples.NOON
    )


def proof(sample=None, proves=None, **changes):
    hit = samples.hit(sample or samples.play(state="closed"))
    return details.of({**hit, **changes}, proves)


def evidence(**changes):
    return evidence_document(stream_id="st-1", play=samples.play(), explanation=samples.explanation(88.0, **changes))


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them; `rows` of every table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self.rows = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def seconds(clock):
    minus = -1 if clock.startswith("−") else 1
    parts = [int(part) for part in clock.lstrip("−").split(":")]
    return minus * sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3_600), strict=False))


def table(text, caption):
    """The rows of the table with that caption, without its head."""
    (found,) = re.findall(rf"<table[^>]*><caption[^>]*>{caption}</caption>.*?</table>", text, re.DOTALL)
    return Page(found).rows[1:]


# ------------------------------------------------------------------------------------------------ sums


def test_the_rows_of_the_totals_add_up_as_they_are_shown():
    gaps = (Gap(begin_s=150.4, end_s=170.0, reason="late"), Gap(begin_s=500.0, end_s=530.7, reason="origin_down"))
    music = (Stretch(begin_s=300.3, end_s=390.0),)
    silence = (Stretch(begin_s=195.0, end_s=210.25), Stretch(begin_s=520.0, end_s=535.7))  # what plays or is not heard is not silent
    speech = (Stretch(begin_s=205.0, end_s=330.0), Stretch(begin_s=600.0, end_s=601.0))  # nor is it speech while there is silence or music
    sounds = {"music": music, "silence": silence, "speech": speech}
    text = report.html(a_report(line(100.3, 160.9), line(120.0, 200.25, track_id="t-2", owner=""), gaps=gaps, **sounds))

    assert "<title>speech, 3:30 to 5:00</title>" in text
    assert '<i class="key talk"></i>speech' in text
    assert "speech 1:30; silence 0:10" in text
    rows = table(text, "Every second, once")
    assert [(what, length) for what, length, _ in rows] == [
        ("Catalogued recordings", "1:20"),
        ("Music, unidentified", "1:30"),
        ("Speech", "1:31"),
        ("Silence", "0:15"),
        ("Heard, nothing recognised", "11:14"),
        ("Not heard: the origin did not answer", "0:30"),
        ("Not heard: dropped to the live edge", "0:20"),
        ("The stream", "16:40"),
    ]
    assert sum(seconds(length) for _, length, _ in rows[:-1]) == seconds(rows[-1][1]) == 1_000
    owners = table(text, "Seconds by owner")
    assert [(who, plays, length) for who, plays, length, _ in owners] == [
        ("not said", "1", "1:01"),
        ("Paper Boat Rights Ltd", "1", "0:50"),
        ("Two at once, counted twice above", "", "−0:31"),
        ("Catalogued recordings", "2", "1:20"),
    ]
    for by in ("policy", "owner", "recording"):
        shown = [seconds(length) for _, _, length, _ in table(text, f"Seconds by {by}")]
        assert sum(shown[:-1]) == shown[-1] == 80


@settings(deadline=None, max_examples=60)
@given(st.lists(SPANS, max_size=6), st.lists(SPANS, max_size=4), st.lists(SPANS, max_size=3))
def test_every_second_is_counted_once_and_as_reports_across_streams_count_it(plays, gaps, music):
    disjoint, stretches, here_s, there_s = [], [], 0.0, 0.0
    for begin_s, end_s in sorted(gaps):
        if begin_s > here_s:
            disjoint.append(Gap(begin_s=begin_s, end_s=end_s, reason="late"))
            here_s = end_s
    for begin_s, end_s in sorted(music):
        if begin_s > there_s:
            stretches.append(Stretch(begin_s=begin_s, end_s=end_s))
            there_s = end_s
    whole = a_report(*(line(*span, track_id=f"t-{n}") for n, span in enumerate(plays)), gaps=tuple(disjoint), music=tuple(stretches))
    left = unidentified(whole.checkpoint.music, whole.plays).stretches
    seen = Seen(plays=whole.plays, gaps=disjoint, music=left, silence=[Stretch(begin_s=40.0, end_s=440.0)], speech=[Stretch(begin_s=300.0, end_s=700.0)])

    here = seen.between(0.0, 1_000.0)
    parts = (here.catalogued_s, here.music_s, here.rest_s + here.silence_s + here.speech_s, here.gap_s)
    halves = [seen.between(0.0, 321.5), seen.between(321.5, 1_000.0)]
    totals = Totals()
    totals.add(Portion.of(whole, Period(), begins_at=samples.NOON))

    assert sum(parts) == pytest.approx(1_000.0)
    names = [field.name for field in fields(here)]
    assert [getattr(here, name) for name in names] == pytest.approx([sum(getattr(half, name) for half in halves) for name in names])
    told = totals.heard.told()
    assert parts == pytest.approx((told["identified_s"], told["unidentified_music_s"], told["rest_s"], told["gap_s"]), abs=0.02)
    assert sum(one.heard_s for one in seen.sums(lambda play: play.track_id)) == pytest.approx(told["identified_s"] + told["overlap_s"], abs=0.02)
    assert sum(shown_s(parts)) == 1_000


def test_a_play_that_is_not_on_record_yet_is_in_no_sum():
    text = report.html(a_report(line(100.0, 200.0, state="provisional"), position_s=300.0))
    assert "not confirmed yet" in text
    assert [what for what, _, _ in table(text, "Every second, once")] == ["Heard, nothing recognised", "The stream"]
    assert "Seconds by" not in text


def test_recordings_beyond_the_two_hundredth_are_one_row_of_the_totals():
    text = report.html(a_report(*(line(4.0 * n, 4.0 * n + 3 + n / 1_000, track_id=f"t-{n}") for n in range(230))))
    rows = table(text, "Seconds by recording")
    assert (len(rows), rows[0][0]) == (202, "The Example Five, Ada Sample - Title of t-229")
    assert [(rows[200][0], rows[200][1]), (rows[201][0], rows[201][1])] == [("30 more", "30"), ("Catalogued recordings", "230")]


# ------------------------------------------------------------------------------------------------ what explains a play


def test_a_play_is_explained_in_words():
    shown = dict(
        proof(
            samples.play(state="closed", speed=1.031, pitch_cents=52.9, also_matching=tuple(f"t-{n}" for n in range(7))),
            evidence(),
            actions=[{"kind": "stop", "state": "dry_run", "at": "2026-11-21T12:02:00.000Z", "detail": "would have stopped"}, {"kind": "webhook"}],
            policy={"action": "block", "reason": "Paper Boat says block", "rule_id": "late-night", "dry_run": True},
        ).facts
    )
    assert shown == {
        "In the recording": "0:10–0:40 of 4:00, 13% of it",
        "Played": "3.1% faster, 53 cents higher",
        "Policy": "block: Paper Boat says block (rule late-night)",
        "Done": "stop dry run at 12:02:00 UTC (would have stopped); webhook",
        "Also fits": "t-0, t-1, t-2, t-3, t-4 and 2 more",
        "Evidence": "in 1:44–1:56, 5 of the 300 peaks heard are the recording's, worth 88 nats where 28 were asked for",
    }


def test_without_actions_nothing_was_done_and_without_evidence_nothing_is_drawn():
    bare = proof()
    assert dict(bare.facts)["Done"] == "nothing but this record"
    assert (bare.pictures, "Evidence" in dict(bare.facts)) == ("", False)


def test_the_drawings_are_of_what_the_evidence_says():
    drawn = pictures(evidence())
    # Five peaks at 1, 2 ... 5 of 12 seconds, on the diagonal; of the five cells the middle one is highest.
    assert '<path class="dots" d="m27 110h0m26-10h0m27-10h0m27-10h0m26-10h0"/>' in drawn
    assert "1:44–1:56 of the stream (across) lies on one line through 0:14–0:26 of the recording (up)" in drawn
    assert '<path class="sides" d="M0 120V98h64V120h64V8h64V75h64V98h64V120z"/>' in drawn
    assert '<path class="spike" d="M128 120V8h64V120z"/>' in drawn
    assert "5 peaks coincide on the line, at most 2 within 0.1 s of it" in drawn


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"histogram": None},
        {"query": {}},
        {"matched": {"stream_s": ["x"], "reference_s": ["y"]}},
        {"matched": {"stream_s": [104.0, 105.0], "reference_s": []}},
    ],
)
def test_evidence_that_cannot_be_drawn_is_told_of_and_keeps_no_stream_from_ending(odd):
    told = proof(proves={**evidence(), **odd} if odd else {})
    assert (told.pictures, dict(told.facts)["Evidence"]) == ("", "what is kept is no evidence that this version can draw")


def test_a_drawing_is_small_however_much_it_is_of():
    ms = samples.np.linspace(104_000, 116_000, 600).round().astype(samples.np.int32)
    counts = samples.np.arange(1_001, dtype=samples.np.int32) % 37
    drawn = pictures(evidence(stream_ms=ms, eighth_hz=ms, reference_ms=ms - 90_000, matched_n=600, coincidences=counts))
    assert len(drawn) < 1_600


CLIP = {"key": "eu/st-1A2B3C/evidence/abc.flac", "content_type": "audio/flac", "sha256": "00", "bytes": 9, "begin_s": 95.0, "end_s": 120.0}


def test_in_the_streams_folder_the_page_points_to_what_lies_beside_it():
    whole = a_report(line(100.0, 130.0, track_id=samples.TRACK.track_id))
    told = proof(proves=evidence(), evidence={"key": "eu/st-1A2B3C/evidence/abc.json", "clip": CLIP})
    hit_id = whole.plays[0].hit_id

    linked = report.html(whole, {hit_id: told}, linked=True)
    addresses = {value for name, value in Page(linked).attributes if name in ("href", "src") and not value.startswith("#")}
    assert addresses == {"stream.json", "cue-sheet.csv", "cut-list.json", f"hits/{hit_id}.json", f"evidence/{hit_id}.json", "evidence/abc.flac"}
    assert '<audio controls preload="none"' in linked and "media-src &#x27;self&#x27;;" in linked

    alone = report.html(whole, {hit_id: told})
    assert not [value for name, value in Page(alone).attributes if name in ("href", "src") and not value.startswith("#")]
    assert "<audio" not in alone and "media-src" not in alone
    assert told.recorded == (10.0, 30.0)  # the play begins 5 s into the clip, at 0:10 of the recording


def test_the_page_of_ten_thousand_plays_explains_five_hundred_and_stays_in_its_bounds():
    one = line(0.0, 5.0)
    lines = [replace(one, hit_id=f"hit{n}", track_id=f"t-{n % 50}", begin_s=8.0 * n, end_s=8.0 * n + 5) for n in range(10_000)]
    explained = proof(proves=evidence())
    proofs = {one.hit_id: explained for one in lines[: details.PROOFS_MAX]}
    text = report.html(a_report(*lines, position_s=80_000.0), proofs, linked=True)
    assert text.count("<tbody id=") == 10_000
    assert text.count("<summary>Evidence") == 500
    assert "500 of 10,000 plays are explained here, those with consequences first" in text
    assert len(text.encode()) < 9_000_000


# ------------------------------------------------------------------------------------------------ strangers

EVIL = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><svg onload=alert(1)>",
    "=HYPERLINK(1)",
    "\u202eevil\u2066",
    "x" * 2_000,
    "two\nlines\r\n\x00",
    "👩‍👩‍👧 🇩🇪",
]


def explained(text):
    """A page of one play in which every text is this one, explained."""
    track = replace(samples.TRACK, title=text, artists=(text,), album=text, label=text, rights_holder=text)
    stream = replace(samples.STREAM, channel_name=text)
    hit = samples.hit(samples.play(state="closed", also_matching=(text,)), stream=stream, track=track)
    hit["policy"] |= {"reason": text, "rule_id": text}
    hit["actions"] = [{"kind": text, "state": text, "at": text, "detail": text}]
    hit["evidence"] = {"key": text, "clip": CLIP | {"key": f"eu/{text.replace('/', '')}"}}
    whole = replace(a_report(Line.of(hit), gaps=(Gap(begin_s=1.0, end_s=2.0, reason=text),), position_s=300.0), stream=stream)
    return report.html(whole, {hit["hit_id"]: details.of(hit, evidence())}, linked=True)


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_explains_a_play_becomes_code(evil):
    plain, page = Page(explained("plain")), Page(explained(evil))
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert not [value for _, value in page.attributes if "\n" in (value or "") or "javascript:" in (value or "")]
    assert "\u202e" not in "".join(page.texts)
    assert not [text for text in page.texts if len(text) > 900 and "{" not in text]
