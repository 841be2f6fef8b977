"""Situations in which a mail is written, for the golden files and for those who read them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import hits_samples as samples
from earmark.hits.mail import alert, digest, group
from earmark.hits.mail.letter import Manner
from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Line
from earmark.hits.reports.report import StreamReport
from earmark.model import Gap, HeardAs, Music, Stretch, Track

VIENNA = Manner(zone=ZoneInfo("Europe/Vienna"), link="https://vod.example/{stream_id}?t={broadcast_s}", began_at=samples.STREAM.started_at)
UTC = Manner(began_at=samples.STREAM.started_at)
SECOND = Track(
    track_id="isrc:DEZZ42600001",
    title="Viaduct in Celadon",
    artists=("The Seeded Quartet",),
    isrc=("DEZZ42600001",),
    label="Tin Roof",
    rights_holder="Tin Roof",
    duration_s=180.0,
)
HOSTILE = Track(
    track_id='=HYPERLINK("https://evil.example")',
    title="<script>alert(1)</script>\r\nBcc: everybody@example.com \u202e\u2066 שלום עולם 東京事変の長い長い長い長い曲名です 👩\u200d👩\u200d👧\u200d👦🎵",
    artists=("مرحبا بالعالم", "+cmd|' /C calc'!A0", "a" * 90),
    label="\x07bell",
    rights_holder="\u202eevil\u202c Rights 🇩🇪",
)


def told(kind: str, state: str, detail: str = "", *, after_s: float = 105.0) -> dict[str, Any]:
    at = (samples.NOON + timedelta(seconds=after_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"kind": kind, "state": state, "occasion": None, "due_at": at, "at": at, "detail": detail}


def policy(hit: dict[str, Any], action: str, reason: str, rule_id: str, *, notify: bool = True, dry_run: bool = True) -> dict[str, Any]:
    return hit | {"policy": hit["policy"] | {"action": action, "reason": reason, "rule_id": rule_id, "notify": notify, "dry_run": dry_run}}


def one(hit: Mapping[str, Any], *, manner: Manner = UTC, note: str = "") -> Outgoing:
    return alert.outgoing(hit, place=samples.PLACE, manner=manner, note=note)


def opening() -> Outgoing:
    hit = samples.hit(samples.play(also_matching=("isrc:GBAYE0700001", "upc:1", "upc:2", "upc:3")))
    sums = {"sha256": "0" * 64, "bytes": 40_000}
    hit["evidence"] = {"key": samples.PLACE.evidence_key(hit["hit_id"]), "picture": {"key": samples.PLACE.beside_key(hit["hit_id"], "svg"), **sums}}
    hit["coverage"]["foreground_share"] = 0.86
    return one(hit, manner=VIENNA)


def possibly() -> Outgoing:
    return one(samples.hit(samples.play(state="provisional", length_s=9.0, false_alarms_per_hour=0.02)))


def closed_and_stopped() -> Outgoing:
    hit = samples.hit(samples.play(state="closed", revision=4, length_s=85.0, gap_s=12.0))
    hit = policy(hit, "block", "Nobody plays this here before its release", "no-leaks", dry_run=False)
    hit["actions"] = [
        told("webhook", "failed", "https://hooks.example answered 503 eight times in a row"),
        told("ivs_stop", "done", "the stream was stopped and its key revoked", after_s=115.0),
    ]
    return one(hit, manner=VIENNA)


def quoted() -> Outgoing:
    return one(samples.hit(samples.play(state="closed", revision=2, length_s=6.0, quotation=True)))


def without_a_clock() -> Outgoing:
    file = replace(samples.STREAM, source="file", stream_id="file:check/new show.mp4", channel_name="", started_at=None)
    hit = samples.hit(samples.play(state="closed", revision=3), stream=file)
    return alert.outgoing(hit | {"started_at": None, "ended_at": None}, place=replace(samples.PLACE, stream_id=file.stream_id))


def licensed() -> Outgoing:
    return one(policy(samples.hit(), "allow", "licensed to late-night-radio by Paper Boat until 2026-12-31T23:00:00Z (policy of 2026-11)", "paper-boat-2026"))


def last_of_the_hour() -> Outgoing:
    budget = alert.Budget(hour=samples.NOON, sent=59, withheld=0)
    budget = replace(budget, withheld=3)
    _, note = budget.spend(samples.NOON + timedelta(minutes=20), 60, zone=VIENNA.zone, listed=True)
    assert note
    return one(samples.hit(), manner=VIENNA, note=note)


def giant() -> Outgoing:
    return one(samples.hit(samples.play("t"), track=Track(track_id="t", title="🎵 la " * 500, artists=("🎵" * 2_000,) * 100)))


def hostile() -> Outgoing:
    hit = samples.hit(samples.play(HOSTILE.track_id), track=HOSTILE, stream=replace(samples.STREAM, channel_name="ערוץ <b>1</b>\n東京"))
    return one(hit, manner=VIENNA)


def faster_under_talk() -> Outgoing:
    alias = HeardAs(track_id="alias:radio-edit", begin_s=3.0, end_s=33.0, duration_s=200.0, placed=True, speed=1.0, pitch_cents=0.0)
    play = samples.play(speed=1.03, pitch_cents=51.2, false_alarms_per_hour=0.0008, heard_as=alias)
    hit = samples.hit(play, stream=replace(samples.STREAM, source="radio"))
    hit["coverage"]["foreground_share"] = 0.31
    hit["stream"]["now_playing"] = "Somebody Else - Another Song"
    hit["detection"]["clock"] = "arrival"
    return one(hit)


def together() -> Outgoing:
    plays = [
        samples.play(begin_s=100.0, state="closed", length_s=20.0),
        samples.play(begin_s=125.0, state="closed", length_s=6.0, quotation=True),
        samples.play(begin_s=140.0, false_alarms_per_hour=1e-4),
    ]
    hits = [samples.hit(play) for play in plays]
    other = policy(samples.hit(samples.play(SECOND.track_id, begin_s=131.0), track=SECOND), "warn", "the foreground is another's", "foreground")
    other["actions"] = [told("ivs_metadata", "done"), told("ivs_stop", "dry_run", "StopStream")]
    return group.outgoing([*hits, other], place=samples.PLACE, manner=VIENNA)


def ended(**changes: Any) -> digest.Digest:
    """A stream of an hour with two gaps, a little one among them, and six plays."""
    tracks = (samples.TRACK, SECOND, HOSTILE)
    hits = []
    for number, begin_s in enumerate((100.0, 400.5, 1_000.0, 1_690.0, 2_500.0, 3_570.0)):
        track = tracks[number % 3]
        play = samples.play(track.track_id, begin_s=begin_s, length_s=30.0 + 20 * number, state="closed", quotation=number == 2, continues=number == 5)
        hits.append(samples.hit(play, track=track))
    hits[1] = policy(hits[1], "block", "no", "r", dry_run=False)
    hits[3] = policy(hits[3], "allow", "licensed", "r", notify=False)
    gaps = [
        Gap(begin_s=200.0, end_s=245.0, reason="origin_down"),
        Gap(begin_s=700.0, end_s=702.5, reason="segment_missing"),
        Gap(begin_s=1_700.0, end_s=1_712.0, reason="late"),
    ]
    music = Music(heard_s=1_000.0, stretches=(Stretch(begin_s=90.0, end_s=190.0), Stretch(begin_s=3_000.0, end_s=3_200.0)))
    checkpoint = samples.checkpoint(3_600.0, state="ended", end_reason="cut", gaps=gaps, music=music)
    whole = StreamReport(stream=samples.STREAM, checkpoint=checkpoint, plays=tuple(Line.of(hit) for hit in hits), worker="worker-1", updated_at=samples.NOON)
    values = {"whole": whole, "silent": frozenset({hits[3]["hit_id"]}), "actions": {hits[1]["hit_id"]: [told("ivs_stop", "done"), told("webhook", "waiting")]}}
    return digest.Digest(**values | changes)


def end_with_gaps() -> Outgoing:
    return digest.outgoing(ended(), place=samples.PLACE, manner=VIENNA, revision=77, withheld=7)


def end_again() -> Outgoing:
    whole = ended().whole
    quiet = replace(whole, checkpoint=replace(whole.checkpoint, gaps=(), end_reason="stream_end", music=Music(), heard_s=3_600.0), plays=whole.plays[:1])
    return digest.outgoing(ended(whole=quiet, actions={}), place=replace(samples.PLACE, bucket=""), manner=UTC, revision=78, again=True)


def end_of_a_file() -> Outgoing:
    whole = ended().whole
    file = replace(samples.STREAM, source="file", stream_id="file:check/new show.mp4", channel_name="", started_at=None)
    checkpoint = samples.checkpoint(1_200.0, state="ended", end_reason="endlist", clock=None)
    plays = tuple(replace(line, started_at=None) for line in whole.plays[:2])
    place = replace(samples.PLACE, stream_id=file.stream_id)
    return digest.outgoing(ended(whole=replace(whole, stream=file, checkpoint=checkpoint, plays=plays), actions={}), place=place, manner=Manner(), revision=79)


SITUATIONS = {
    "opening": opening,
    "possibly": possibly,
    "closed-and-stopped": closed_and_stopped,
    "quotation": quoted,
    "no-clock": without_a_clock,
    "licensed": licensed,
    "last-of-the-hour": last_of_the_hour,
    "truncated": giant,
    "hostile": hostile,
    "faster-under-talk": faster_under_talk,
    "together": together,
    "end-with-gaps": end_with_gaps,
    "end-again": end_again,
    "end-of-a-file": end_of_a_file,
}


def shown(sent: Outgoing) -> str:
    """As a mail program has it, and what filters see."""
    named = ", ".join(f"{name}={value}" for name, value in sorted(sent.attributes["attributes"].items()))
    return f"Subject: {sent.attributes['subject']}\nAttributes: {named}\n\n{json.loads(sent.body)['email']}"
