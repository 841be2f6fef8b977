"""The mails, read: each situation has a golden file in tests/golden/mail, written anew by `GOLDEN=write pytest tests/unit/test_mail.py`."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeAlias
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hits_samples as samples
import mail_situations as situations
from earmark.errors import BadSettings
from earmark.hits.mail import alert, digest, group, subject
from earmark.hits.mail.letter import PLAINLY, Manner
from earmark.hits.mail.lines import COLUMNS, narrowed, plain, theirs, wrapped
from earmark.hits.mail.mailing import Mailing, Posted
from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Line
from earmark.hits.text import columns
from earmark.model import Track
from earmark.settings import Alerts, load
from earmark.settings.alerts import LINK_FIELDS

ALERT, HIT = samples.validator("alert"), samples.validator("hit")
GOLDEN = Path(__file__).parent.parent / "golden" / "mail"
TEXTS = [
    "東京事変" * 30,
    "👩\u200d👩\u200d👧\u200d👦" * 40,
    "🇩🇪🇫🇷" * 20,
    "e\u0301" * 90,
    "שלום (עולם) 12",
    "a\nb\r\tc\x00",
    "\u202e\u2066x\u2069",
    "=1+1",
    "x" * 2_000,
    "",
]
ANY = st.one_of(st.text(max_size=60), st.sampled_from(TEXTS))
quick = settings(deadline=None, max_examples=60)


def mail_of(sent: Outgoing) -> str:
    text: str = json.loads(sent.body)["email"]
    return text


def too_wide(mail: str) -> list[str]:
    return [line for line in mail.splitlines() if columns(line) > COLUMNS and not line.startswith(("s3://", "https://"))]


@pytest.mark.parametrize("name", situations.SITUATIONS)
def test_each_situation_reads_as_it_did(name: str) -> None:
    sent = situations.SITUATIONS[name]()
    shown, path = situations.shown(sent), GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
    assert too_wide(mail_of(sent)) == []
    document = json.loads(json.loads(sent.body)["default"])
    (ALERT if "kind" in document else HIT).validate(document)
    assert sent.attributes["subject"].isascii() and len(sent.attributes["subject"]) < 100


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(situations.SITUATIONS)


# ------------------------------------------------------------------------------------------------ lines


@quick
@given(ANY, st.integers(24, 80))
@example("漢" * 200, 25)
@example("a" + "\u0301" * 500, 24)
def test_no_line_is_wider_than_it_may_be_and_nothing_of_the_text_is_lost(text: str, width: int) -> None:
    text = theirs(text, 500)
    lines = wrapped(text, "Label     ", "    ", columns_max=width)
    assert max(columns(line) for line in lines) <= width
    said = "".join(line.removeprefix("Label").replace(" ", "") for line in lines)
    assert plain(said) == plain(text).replace(" ", "")


@quick
@given(ANY)
@example("שלום " * 40)
def test_what_is_written_from_right_to_left_stays_within_its_line(text: str) -> None:
    for line in wrapped(f"from {theirs(text, 500)} to 12:30"):
        depth = 0
        for c in line:
            depth += {"\u2068": 1, "\u2069": -1}.get(c, 0)
            assert 0 <= depth <= 1
        assert depth == 0


@pytest.mark.parametrize("family", ["👩\u200d👩\u200d👧\u200d👦", "🇩🇪", "👍🏽", "e\u0301", "☀\ufe0f"])
def test_what_belongs_together_is_not_torn_apart(family: str) -> None:
    lines = wrapped("x" + family * 60, columns_max=21)
    assert len(lines) > 2
    for line in lines:
        assert len(line.removeprefix("x")) % len(family) == 0
    assert len(narrowed(family * 60, 21).removesuffix("…")) % len(family) == 0


def test_a_narrowed_text_fits_and_says_that_it_is_cut() -> None:
    assert narrowed("short", 10) == "short"
    assert narrowed("東京事変", 6) == "東京…"
    assert columns(narrowed("x" * 99, 60)) == 60


def test_a_terminal_gets_no_marks_that_it_would_show_as_signs() -> None:
    text = alert.text(samples.hit(track=situations.HOSTILE), place=samples.PLACE, manner=situations.VIENNA)
    assert "\u2068" in mail_of(situations.hostile())
    assert "\u2068" not in text and "\u2069" not in text
    assert "Watch it:\nhttps://vod.example/st-1A2B3C?t=105" in text
    assert "Trace     none" in text


@pytest.mark.parametrize(
    "speed, cents, said",
    [
        (1.03, 51.2, "3.0% faster, 0.5 semitones higher than the\n          recording"),
        (0.94, 0.0, "6.0% slower than the recording"),
        (1.0, -200.0, "2.0 semitones lower than the recording"),
        (1.001, 2.0, ""),
    ],
)
def test_a_changed_sound_is_told_where_somebody_might_hear_it(speed: float, cents: float, said: str) -> None:
    mail = mail_of(alert.outgoing(samples.hit(samples.play(speed=speed, pitch_cents=cents)), place=samples.PLACE))
    assert mail.count("Changed") == bool(said)
    assert f"Changed   {said}\n" in mail or not said


# ------------------------------------------------------------------------------------------------ times and links


@pytest.mark.parametrize(
    "zone, said",
    [
        ("Europe/Vienna", "2026-11-21 13:00:00 UTC+01:00"),
        ("Asia/Kolkata", "2026-11-21 17:30:00 UTC+05:30"),
        ("America/St_Johns", "2026-11-21 08:30:00 UTC-03:30"),
        ("Europe/London", "2026-11-21 12:00:00 UTC"),
    ],
)
def test_a_time_of_day_is_of_the_zone_and_says_which(zone: str, said: str) -> None:
    assert Manner(zone=ZoneInfo(zone)).when(samples.NOON) == said


def test_in_the_hour_that_comes_twice_both_are_told_apart() -> None:
    vienna = Manner(zone=ZoneInfo("Europe/Vienna"))
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert [vienna.when(at)[11:] for at in (first, first + timedelta(hours=1))] == ["02:30:00 UTC+02:00", "02:30:00 UTC+01:00"]


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_clock_that_is_absurd_stops_no_mail(moment: datetime) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        assert Manner(zone=ZoneInfo(zone)).when(moment)


def test_a_link_has_each_field_and_nothing_of_a_stranger_leads_elsewhere() -> None:
    stream = replace(samples.STREAM, channel_name="../../evil.example/?a=1&b=2#x y\n", stream_id="st/1 {begin_s}")
    hit = samples.hit(samples.play(begin_s=3_723.9), stream=stream)
    manner = Manner(link="https://vod.example/" + "/".join(f"{{{name}}}" for name in LINK_FIELDS), began_at=samples.STREAM.started_at)
    mail = mail_of(alert.outgoing(hit, place=samples.PLACE, manner=manner))
    (link,) = [line for line in mail.splitlines() if line.startswith("https://vod.example")]
    fields = link.removeprefix("https://vod.example/").split("/")
    assert fields[:2] == ["st%2F1%20%7Bbegin_s%7D", "..%2F..%2Fevil.example%2F%3Fa%3D1%26b%3D2%23x%20y%0A"]
    assert fields[4:] == ["2026-11-21T13%3A02%3A03.900Z", "3723", "3753", "1h2m3s", "3728", "1h2m8s"]  # it was heard from 5 s after it began


def test_a_link_that_would_be_absurdly_long_is_left_out() -> None:
    hit = samples.hit(stream=replace(samples.STREAM, channel_name="東" * 500))
    assert "vod.example" not in mail_of(alert.outgoing(hit, place=samples.PLACE, manner=Manner(link="https://vod.example/{channel_name}")))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "", "/etc/localtime", "UTC\0"])
def test_a_time_zone_that_there_is_not_is_one_sentence(zone: str) -> None:
    with pytest.raises(
        BadSettings, match=r"^the setting alerts.time_zone \(set by EARMARK_ALERTS__TIME_ZONE\) is wrong: there is no such time zone here: [^\n]*$"
    ):
        load(environ={"EARMARK_ALERTS__TIME_ZONE": zone})


@pytest.mark.parametrize(
    "link, why",
    [
        ("vod.example/{stream_id}", "begins with https://"),
        ("javascript:alert(1)", "begins with https://"),
        ("https://{channel_name}/{begin_s}", "a host of its own"),
        ("https://vod.example?t={begin_s}&x=/", "a host of its own"),
        ("https://vod.example/{title}", "in braces stands one of stream_id, "),
        ("https://vod.example/{stream_id.__class__}", "in braces stands one of"),
        ("https://vod.example/{begin_s:9999999999}", "in braces stands one of"),
        ("https://vod.example/{begin_s!r}", "in braces stands one of"),
        ("https://vod.example/{}", "in braces stands one of"),
        ("https://vod.example/{begin_s", "a brace is left open"),
        ("https://vod.example/\n{begin_s}", "printable ASCII"),
        ("https://vod.example/" + "x" * 500, "500 characters"),
    ],
)
def test_a_link_that_makes_no_address_is_one_sentence(link: str, why: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load(environ={"EARMARK_ALERTS__LINK": link})
    assert why in str(caught.value)
    assert str(caught.value).startswith(
        "the setting alerts.link (set by EARMARK_ALERTS__LINK) is wrong: an address as https://vod.example/{stream_id}?t={begin_s}"
    )
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ subjects


names = st.sampled_from(["late-night-radio", "東京 FM", "東京 AM", "x" * 80, "x" * 79 + "y", "radio", "radio 2", "", "É"])
beginnings = st.one_of(st.none(), st.integers(0, 5_000_000).map(lambda minutes: samples.NOON - timedelta(minutes=minutes)))
streams = st.tuples(names, st.text(min_size=1, max_size=12), beginnings)
#: A channel's name, the stream's id and beginning.
Begun: TypeAlias = tuple[str, str, datetime | None]
PLAYS = [(begin_s, state) for begin_s in (0.0, 59.9, 60.0, 3_599.0, 36_000.0, 86_399.5) for state in ("provisional", "open", "closed")]


def subjects(stream: Begun, title: str) -> list[str]:
    """Of its mails, in their order."""
    name, stream_id, began_at = stream
    of = replace(samples.STREAM, channel_name=name, stream_id=stream_id)
    track = replace(samples.TRACK, title=title)
    hits = [samples.hit(samples.play(begin_s=begin_s, state=state), stream=of, track=track) for begin_s, state in PLAYS]
    told = [subject.of_hit(hit, manner=Manner(began_at=began_at)) for hit in hits]
    return [*told, subject.of_end(hits[0]["stream"], {"track": 3}, ended_s=86_399.9, manner=Manner(began_at=began_at))]


@settings(deadline=None, max_examples=25)
@given(streams, streams, st.sampled_from(["Blue Sky", "zzz", "東京", "!"]), st.randoms(use_true_random=False))
def test_a_mailbox_sorted_by_subject_has_each_stream_together_and_in_order(one: Begun, other: Begun, title: str, chance: Random) -> None:
    first, second = subjects(one, title), subjects(other, title)
    places = {line[: line.index(" +")] for line in (*first, *second)}
    if len(places) == 1:  # of one name, begun in one minute: nothing tells them apart
        return
    box = first + second
    chance.shuffle(box)
    box.sort()
    assert box in (first + second, second + first)


def test_a_subject_names_the_stream_by_its_id_where_a_name_has_nothing_that_ascii_has() -> None:
    hit = samples.hit(stream=replace(samples.STREAM, channel_name="東京"))
    assert subject.of_hit(hit, manner=PLAINLY).startswith("st-1A2B3C +00:01:40 now [track] Blue Sky Morning")


# ------------------------------------------------------------------------------------------------ how many


class Counted:
    """A transaction of which the rows are counted; plays join those that wait."""

    connection = None

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.due: list[datetime] = []

    def queue(self, item: Outgoing, _after_id: int | None = None) -> int:
        self.due.append(self.now + timedelta(seconds=item.wait_s))
        return len(self.due)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 3_000), min_size=1, max_size=60), st.sampled_from([0.0, 30.0, 300.0, 3_600.0]))
def test_mails_are_apart_by_the_setting_and_whoever_takes_over_counts_them_right(times: list[float], group_s: float) -> None:
    alerts = Alerts(topic_arn="t", group_s=group_s, per_stream_hour_max=1_000)
    mailing, work = Mailing(alerts=alerts, stream=samples.STREAM, place=samples.PLACE), Counted(samples.NOON)
    told_at = [samples.NOON + timedelta(seconds=at_s) for at_s in sorted(times)]
    posted = Posted.recalled((), samples.NOON, alerts)
    with patch.object(Mailing, "_join", lambda *_: True):
        for number, work.now in enumerate(told_at):
            posted = mailing.tell(work, posted, samples.hit(samples.play(begin_s=float(number))), None)  # type: ignore[arg-type]
    gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(work.due)]
    assert all(gap_s >= group_s - 1e-3 for gap_s in gaps_s)
    assert all(any(0 <= (due - at).total_seconds() <= group_s + 1e-3 for due in work.due) for at in told_at)  # none waits for longer, none is left
    recalled = Posted.recalled(told_at, told_at[-1], alerts)
    assert recalled.budget.sent == posted.budget.sent == len(work.due)
    assert recalled.mailed_at == (posted.mailed_at if group_s else None)


# ------------------------------------------------------------------------------------------------ what SNS takes


def size_of(sent: Outgoing) -> int:
    """As SNS counts: message, subject, and of each attribute name, type and value."""
    named = sent.attributes["attributes"]
    return len(sent.body.encode()) + len(sent.attributes["subject"]) + sum(len((name + "String" + value).encode()) for name, value in named.items())


def judge(sent: Outgoing) -> None:
    line = sent.attributes["subject"]
    assert 0 < len(line) < 100
    assert line.isascii() and line.isprintable() and line[0] != " "
    assert size_of(sent) <= 256 * 1024
    assert all(0 < len(value) <= 256 and value == value.strip() and all(c >= " " for c in value) for value in sent.attributes["attributes"].values())
    assert too_wide(mail_of(sent)) == []
    ALERT.validate(json.loads(json.loads(sent.body)["default"]))


@quick
@given(st.lists(st.tuples(ANY, ANY), min_size=2, max_size=4), ANY, ANY)
def test_plays_told_together_keep_to_the_limits_of_sns(names: list[tuple[str, str]], channel: str, reason: str) -> None:
    stream = replace(samples.STREAM, channel_name=channel)
    tracks = [Track(track_id=title or "t", title=title, artists=(artist,), rights_holder=artist) for title, artist in names]
    hits = [samples.hit(samples.play(track.track_id, begin_s=10.0 * n), stream=stream, track=track) for n, track in enumerate(tracks)]
    hits = [situations.policy(hit, "block", reason, "r") for hit in hits]
    judge(group.outgoing(hits, place=samples.PLACE, manner=situations.VIENNA, note="x " * 40))


@quick
@given(ANY, ANY, ANY, st.booleans())
def test_a_digest_keeps_to_the_limits_of_sns(title: str, artist: str, channel: str, bucket: bool) -> None:
    made = situations.ended()
    lines = tuple(replace(line, title=title, artists=(artist,)) for line in made.whole.plays)
    told = situations.ended(whole=replace(made.whole, plays=lines, stream=replace(samples.STREAM, channel_name=channel, tags={channel[:100]: title * 50})))
    place = samples.PLACE if bucket else replace(samples.PLACE, bucket="")
    judge(digest.outgoing(told, place=place, manner=situations.VIENNA, revision=1))


def test_the_worst_plays_together_are_named_if_no_more_fits() -> None:
    worst = '"🎵' * 1_000
    track = Track(track_id=worst, title=worst, artists=(worst,) * 100, album=worst, label=worst, isrc=(worst,) * 100, rights_holder=worst)
    stream = replace(samples.STREAM, channel_name=worst, tags={f"{n}{worst}": worst for n in range(50)})
    hits = [samples.hit(samples.play(f"{n}{worst}", begin_s=n), track=track, stream=stream) for n in range(group.PLAYS_MAX)]
    sent = group.outgoing(hits, place=samples.PLACE, manner=PLAINLY)
    judge(sent)
    document = json.loads(json.loads(sent.body)["default"])
    assert document["truncated"] is True
    assert [hit["hit_id"] for hit in document["hits"]] == [hit["hit_id"] for hit in hits]


def test_usual_plays_together_come_whole_to_programs() -> None:
    hits = [samples.hit(samples.play(begin_s=float(n))) for n in range(group.PLAYS_MAX)]
    document = json.loads(json.loads(group.outgoing(hits, place=samples.PLACE, manner=PLAINLY).body)["default"])
    assert document["hits"] == hits
    ALERT.validate(document)
    for hit in document["hits"]:
        HIT.validate(hit)
    assert "truncated" not in document


def many(number: int, title: str = "Blue Sky Morning") -> digest.Digest:
    line = replace(situations.ended().whole.plays[0], title=title)
    plays: tuple[Line, ...] = tuple(replace(line, hit_id=f"hit-{n}", begin_s=4.0 * n, end_s=4.0 * n + 3, title=f"{title} {n}") for n in range(number))
    whole = situations.ended().whole
    return situations.ended(whole=replace(whole, plays=plays, checkpoint=samples.checkpoint(4.0 * number, state="ended", end_reason="stream_end")))


@pytest.mark.parametrize("number, lines", [(300, 5), (1_500, 1)])
def test_a_digest_of_many_plays_is_complete(number: int, lines: int) -> None:
    sent = digest.outgoing(many(number), place=samples.PLACE, manner=situations.VIENNA, revision=1)
    judge(sent)
    mail, end = mail_of(sent), "\n" if lines > 1 else " - "
    assert [f"[track] Blue Sky Morning {n}{end}" in mail for n in range(number)] == [True] * number
    assert mail.count("2026-11-21 13:01:40 UTC+01:00") >= (number if lines > 1 else 0)


@pytest.mark.parametrize("title", ["Blue Sky Morning", "🎵 \"Título\\ '東京'"])
def test_a_digest_of_ten_thousand_plays_says_how_many_more_there_are_and_where(title: str) -> None:
    sent = digest.outgoing(many(10_000, title), place=samples.PLACE, manner=situations.VIENNA, revision=1)
    judge(sent)
    mail = " ".join(mail_of(sent).split())
    listed = sum(line.lstrip()[:1].isdigit() and "[track]" in line for line in mail_of(sent).splitlines())
    assert listed > 1_500
    assert f"And {10_000 - listed:,} more lines that did not fit into this mail: they are in the cue sheet and the report" in mail
    assert "10,000 plays of" in mail
    assert size_of(sent) > 250 * 1024  # as many as fit
    assert json.loads(json.loads(sent.body)["default"])["plays"]["total"] == 10_000


def test_a_digest_says_the_same_of_the_same_plays_only() -> None:
    made = situations.ended()
    assert made.mark == situations.ended().mark
    assert made.mark == situations.ended(whole=replace(made.whole, checkpoint=samples.checkpoint(9_000.0), updated_at=samples.NOON)).mark
    assert made.mark != situations.ended(actions={}).mark
    assert made.mark != situations.ended(whole=replace(made.whole, plays=made.whole.plays[1:])).mark


def test_a_stream_in_which_nobody_was_to_be_told_of_a_play_has_no_digest() -> None:
    made = situations.ended()
    assert made.wanted
    assert not situations.ended(silent=frozenset(line.hit_id for line in made.whole.plays)).wanted
    assert not situations.ended(whole=replace(made.whole, plays=())).wanted
    assert not situations.ended(whole=replace(made.whole, plays=(replace(made.whole.plays[0], state="provisional"),))).wanted
