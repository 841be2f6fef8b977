"""Alerts keep to SNS's limits, whatever the metadata, and read well as mail."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits.mail import alert
from earmark.hits.mail.alert import Budget, sure_in_brief, sure_in_words
from earmark.model import Stream, Track

HIT = samples.validator("hit")
TEXT = st.one_of(st.text(max_size=80), st.sampled_from(["🎵" * 2_000, '"' * 2_000, "a\nb\rc\x00\x07", "\u202eright to left", "<script>", "東京" * 500, ""]))


def message_of(sent):
    return json.loads(sent.body)


def mail_of(hit):
    return message_of(alert.outgoing(hit, place=samples.PLACE))["email"]


def size_of(sent):
    attributes = sent.attributes["attributes"]
    return len(sent.body.encode()) + sum(len((name + "String" + value).encode()) for name, value in attributes.items()) + len(sent.attributes["subject"])


@settings(deadline=None, max_examples=150)
@given(
    st.builds(Track, track_id=TEXT.filter(bool), title=TEXT, artists=st.lists(TEXT, max_size=3).map(tuple), album=TEXT, label=TEXT, rights_holder=TEXT),
    TEXT,
    TEXT.filter(bool),
    st.sampled_from(["provisional", "open", "closed"]),
)
def test_every_alert_keeps_to_the_limits_of_sns(track, channel, stream_id, state):
    stream = replace(samples.STREAM, stream_id=stream_id, channel_name=channel)
    hit = samples.hit(samples.play(track.track_id, state=state), stream=stream, track=track)

    sent = alert.outgoing(hit, place=samples.PLACE)

    subject, attributes, message = sent.attributes["subject"], sent.attributes["attributes"], message_of(sent)
    assert 0 < len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert not subject.startswith(" ")
    assert size_of(sent) < 256 * 1024
    assert set(message) == {"default", "email", "sqs"}
    HIT.validate(json.loads(message["default"]))
    assert message["sqs"] == message["default"]
    assert set(attributes) <= {"action", "state", "stream_id", "track_id"}
    for value in attributes.values():
        assert 0 < len(value) <= 256
        assert value == value.strip()
        assert all(c >= " " for c in value)
    prose = [line for line in message["email"].splitlines() if not line.startswith(("s3://", "https://"))]
    assert max(len(line) for line in prose) <= 60


def test_a_message_that_would_be_too_large_is_cut_and_says_so():
    track = Track(track_id="t", title="🎵" * 2_000, artists=("🎵" * 2_000,) * 100)
    hit = samples.hit(samples.play("t"), track=track)
    assert len(json.dumps(hit, ensure_ascii=False).encode()) > 256 * 1024

    sent = alert.outgoing(hit, place=samples.PLACE)

    document = json.loads(message_of(sent)["default"])
    assert size_of(sent) < 256 * 1024
    assert document["truncated"] is True
    assert document["hit_id"] == hit["hit_id"]
    assert len(document["track"]["artists"]) == 10
    HIT.validate(document)


def test_even_the_worst_metadata_fits():
    worst = '"🎵' * 1_000
    stream = Stream(stream_id=worst, source="ivs", channel_arn=worst, channel_name=worst, session_id=worst, tags={f"{n}{worst}": worst for n in range(50)})
    track = Track(
        track_id=worst,
        title=worst,
        artists=(worst,) * 100,
        album=worst,
        label=worst,
        isrc=(worst,) * 100,
        iswc=(worst,) * 100,
        upc=(worst,) * 100,
        rights_holder=worst,
    )
    hit = samples.hit(samples.play(worst, also_matching=(worst,) * 100), stream=stream, track=track)

    assert size_of(alert.outgoing(hit, place=samples.PLACE)) < 256 * 1024


def test_what_a_station_said_stands_in_the_mail_bounded():
    hit = samples.hit()
    hit["stream"]["now_playing"] = "Ada Sample\r\nBcc: somebody\x07 " + "x" * 3_000
    mail = mail_of(hit)
    assert "On air    the station said: Ada Sample Bcc: somebody" in mail
    assert not [line for line in mail.splitlines() if line.startswith("Bcc") or (len(line) > 60 and "://" not in line)]
    assert mail.count("x" * 10) < 40
    for nothing in (None, ""):
        hit["stream"]["now_playing"] = nothing
        assert "On air" not in mail_of(hit)


def test_a_title_in_another_script_falls_back_to_the_track_id_in_the_subject():
    track = replace(samples.TRACK, title="東京", artists=("Beyoncé",))

    assert alert.outgoing(samples.hit(track=track), place=samples.PLACE).attributes["subject"].endswith(" now [track] isrc:GBAYE0601498 - Beyonce")


@pytest.mark.parametrize(
    "per_hour, words, brief",
    [
        (3.2, "about 3.2 false alarms in one hour of listening", "3.2 an hour"),
        (1.0, "about 1 false alarm in one hour of listening", "1 an hour"),
        (0.99999, "about one false alarm in one hour of listening", "1 in 1 hour"),
        (0.25, "about one false alarm in 4 hours of listening", "1 in 4 hours"),
        (1 / 49, "about one false alarm in 2 days of listening", "1 in 2 days"),
        (1e-4, "about one false alarm in 1.1 years of listening", "1 in 1.1 years"),
        (1e-7, "about one false alarm in 1,100 years of listening", "1 in 1,100 years"),
        (1e-12, "less than one false alarm in a million years of listening", "< 1 in 1M years"),
        (0.0, "less than one false alarm in a million years of listening", "< 1 in 1M years"),
        (None, "not known", "not known"),
    ],
)
def test_how_sure_in_words(per_hour, words, brief):
    assert sure_in_words(per_hour) == words
    assert sure_in_brief(per_hour) == brief


@given(st.floats(0, 28_800))
@example(1.1415e-10)  # not quite a million years
def test_how_sure_in_brief_fits_its_column(per_hour):
    assert len(sure_in_brief(per_hour)) <= 20


def test_the_budget_of_an_hour_is_spent_counted_and_told():
    budget, notes = Budget.at(samples.NOON), []
    for _ in range(5):
        budget, note = budget.spend(samples.NOON, 2)
        notes.append(note)

    assert notes == ["", "This is alert 2 of 2 in this hour: further plays before 13:00 UTC are only put on record.", None, None, None]
    assert (budget.sent, budget.withheld) == (2, 3)

    budget, note = budget.spend(samples.NOON + timedelta(minutes=61), 2)

    assert note == "3 earlier alerts of this stream went over the hourly limit and stayed unsent."
    assert (budget.sent, budget.withheld) == (1, 0)


def test_a_clock_that_steps_back_gives_no_new_budget():
    budget, _ = Budget.at(samples.NOON).spend(samples.NOON, 1)

    assert budget.spend(samples.NOON - timedelta(hours=1), 1)[1] is None


def test_a_limit_of_none_sends_none():
    assert Budget.at(samples.NOON).spend(samples.NOON, 0)[1] is None
