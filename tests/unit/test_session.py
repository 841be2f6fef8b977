"""The pipeline of one stream, with scripted ports: what is committed, in which order, and how it ends."""

import gc
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from earmark.coverage import STRETCHES_MAX, Coverage
from earmark.errors import AwsRefused, AwsUnavailable, DatabaseUnavailable, LeaseLost, SchemaMismatch, SourceUnavailable, SourceUnsupported, StreamNotFound
from earmark.model import RATE_HZ, AudioChunk, CatalogueSize, Checkpoint, Gap, Lookup, Missing, Music, Play, Postings, Segment, Stretch
from earmark.session import AGAIN_S_MAX, Session, Signals, Stop

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def play(revision=1, state="open"):
    return Play(
        hit_id="h", revision=revision, state=state, track_id="t", begin_s=1, end_s=2, reference_begin_s=0, reference_end_s=1, reference_duration_s=60,
        speed=1, pitch_cents=0, evidence_nats=50, false_alarms_per_hour=1e-9, votes=3, matched_s=1, first_heard_s=2,
    )  # fmt: skip


class Inline:
    def go_on(self, function, *args):
        return function(*args)

    def run(self, function, *args):
        return function(*args)


class ScriptedSource:
    end_reason, rendition, fetched_bytes = "endlist", "audio only", 1000

    def __init__(self, pieces, before=lambda n: None, *, lasting=False):
        self._pieces, self._before, self.lasting = pieces, before, lasting

    def pieces(self):
        for n, piece in enumerate(self._pieces):
            self._before(n)
            yield piece


class SecondsDecoder:
    """Each segment is as many samples as it claims; a Missing is a gap before the next chunk, without a clock before the first segment."""

    def __init__(self, start_s=0.0):
        self.at_s = start_s
        self.anchored = False

    def push(self, piece):
        gap_s, reason, n = (piece.duration_s, piece.reason, 0) if isinstance(piece, Missing) else (0.0, None, round(piece.duration_s * RATE_HZ))
        begin_s = self.at_s + gap_s
        self.at_s = begin_s + n / RATE_HZ
        self.anchored = self.anchored or not gap_s
        clock = NOON + timedelta(seconds=begin_s) if self.anchored else None
        return [
            AudioChunk(samples=np.zeros(n, np.float32), start_s=begin_s, gap_before_s=gap_s, gap_reason=reason, clock=clock, clock_source="program_date_time")
        ]

    def flush(self):
        return []


class ScriptedHearing:
    """Asks one question per chunk; tells a play on the second chunk and closes it at the end."""

    def __init__(self):
        self.chunks, self.answers, self.plays, self.size = 0, [], (), None
        self.taken, self.heard_s = [], 0.0
        self.music, self.speech = [], []

    def take_music(self):
        taken, self.music = self.music, []
        return taken

    def take_speech(self):
        taken, self.speech = self.speech, []
        return taken

    def resize(self, size):
        self.size = size

    def take(self, chunk):
        self.taken.append(chunk)

    def hear(self):
        changed = []
        while self.taken:
            self.answers.append((yield Lookup(hashes=np.zeros(1, np.int32), postings_max=10)))
            chunk = self.taken.pop(0)
            self.heard_s += len(chunk.samples) / RATE_HZ
            self.chunks += 1
            if self.chunks == 2:
                self.plays = (play(),)
                changed += self.plays
        return changed

    def flush(self):
        closed = [replace(p, revision=p.revision + 1, state="closed") for p in self.plays]
        self.plays = ()
        return closed
        yield


class Memory:
    """Fails as it is told to; None: not this time."""

    def __init__(self, fail=()):
        self.commits, self.fail = [], list(fail)

    def commit(self, checkpoint, changed):
        if self.fail and (error := self.fail.pop(0)):
            raise error
        self.commits.append((checkpoint, list(changed)))

    def note(self, checkpoint):
        self.commit(checkpoint, [])
        return checkpoint.position_s


class Catalogue:
    def __init__(self, fail=()):
        self.fail = list(fail)

    def answer(self, _question):
        if self.fail and (error := self.fail.pop(0)):
            raise error
        return Postings.none()

    def size(self):
        return CatalogueSize(tracks=3, seconds=600.0, postings=36_000)


class Counts:
    def __init__(self):
        self.media_s, self.missed_s, self.lags, self.plays, self.music_s = 0.0, [], [], [], []

    def music(self, *, media_s, identified):
        self.music_s.append((media_s, identified))

    def heard(self, *, media_s, lag_s, clock_lag_s):
        self.media_s += media_s
        self.lags.append((lag_s, clock_lag_s))

    def missed(self, *, media_s, reason):
        self.missed_s.append((media_s, reason))

    def told(self, told, *, latency_s):
        self.plays.append((told.revision, latency_s))


def segment(seconds=2.0, position="p"):
    return Segment(data=b"", container="mpegts", duration_s=seconds, position=position, fetched_at=NOON)


def make(pieces, *, checkpoint=Checkpoint(), signals=None, before=lambda n: None, recorder=None, catalogue=None, **more):
    signals = signals or Signals()
    parts = {
        "checkpoint": checkpoint,
        "source": ScriptedSource(pieces, before),
        "decoder": SecondsDecoder(checkpoint.position_s),
        "hearing": ScriptedHearing(),
        "catalogue": catalogue or Catalogue(),
        "recorder": recorder or Memory(),
        "compute": Inline(),
        "signals": signals,
        "meter": Counts(),
        "now": lambda: NOON + timedelta(seconds=3),
        "buffer_s": 60,
        **more,
    }
    return Session(**parts), parts


def test_every_piece_is_committed_and_the_end_closes_what_is_open():
    session, parts = make([segment(position="1"), segment(position="2"), segment(position="3")])
    assert session.run() == "endlist"
    commits = parts["recorder"].commits
    assert [(c.state, c.position_s, c.source_position, [p.revision for p in changed]) for c, changed in commits] == [
        ("listening", 0.0, "", []),
        ("listening", 2.0, "1", []),
        ("listening", 4.0, "2", [1]),
        ("listening", 6.0, "3", []),
        ("ended", 6.0, "3", [2]),
    ]
    last, closed = commits[-1]
    assert (closed[0].state, last.end_reason, last.plays, last.rendition, last.fetched_bytes) == ("closed", "endlist", (), "audio only", 1000)
    assert last.clock == NOON + timedelta(seconds=6)
    assert parts["hearing"].size.tracks == 3
    assert parts["meter"].media_s == 6.0
    assert parts["meter"].plays == [(1, 3.0), (2, 5.0)]
    assert parts["meter"].lags == [(3.0, 1.0), (3.0, -1.0), (3.0, -3.0)]


def test_heard_and_gaps_add_up_to_the_position():
    pieces = [
        segment(),
        Missing(duration_s=4, reason="segment_missing"),
        Missing(duration_s=2, reason="segment_missing"),
        segment(),
        Missing(duration_s=1, reason="late"),
    ]
    session, parts = make(pieces)
    session.run()
    checkpoint, _ = parts["recorder"].commits[-1]
    assert checkpoint.gaps == (Gap(begin_s=2, end_s=8, reason="segment_missing"), Gap(begin_s=10, end_s=11, reason="late"))
    assert checkpoint.heard_s + checkpoint.gap_s == checkpoint.position_s == 11
    assert parts["meter"].missed_s == [(4, "segment_missing"), (2, "segment_missing"), (1, "late")]


def test_a_handover_commits_and_closes_nothing():
    signals = Signals()
    session, parts = make([segment(), segment(), segment()], signals=signals, before=lambda n: n == 2 and signals.request(Stop.HANDOVER))
    assert session.run() is None
    checkpoint, changed = parts["recorder"].commits[-1]
    assert (checkpoint.state, changed, [p.state for p in checkpoint.plays]) == ("listening", [], ["open"])


def test_a_session_that_stops_early_is_gone_with_its_decoder():
    """Without the garbage collector, which knows of a few Python objects and nothing of the megabyte behind them."""
    signals = Signals()
    gc.collect()
    gc.disable()
    try:
        session, parts = make([segment(), segment(), segment()], signals=signals, before=lambda n: n == 2 and signals.request(Stop.HANDOVER))
        session.run()
        decoder = weakref.ref(parts["decoder"])
        del session, parts
        assert decoder() is None
    finally:
        gc.enable()


def test_a_lost_lease_publishes_nothing_more():
    signals = Signals()
    session, parts = make([segment(), segment(), segment()], signals=signals, before=lambda n: n == 1 and signals.request(Stop.LOST))
    with pytest.raises(LeaseLost):
        session.run()
    assert [c.position_s for c, _ in parts["recorder"].commits] == [0.0, 2.0]


def test_the_next_owner_goes_on_where_the_checkpoint_ends():
    before = Checkpoint(state="listening", position_s=10, heard_s=9, gaps=(Gap(begin_s=3, end_s=4, reason="late"),))
    session, parts = make([Missing(duration_s=6, reason="worker_lost"), segment()], checkpoint=before)
    session.run()
    checkpoint, _ = parts["recorder"].commits[-1]
    assert (checkpoint.position_s, checkpoint.heard_s) == (18, 11)
    assert checkpoint.gaps[-1] == Gap(begin_s=10, end_s=16, reason="worker_lost")


@pytest.mark.parametrize("more", [[], [Missing(duration_s=1, reason="late")], [segment()]])
def test_the_clock_is_that_of_the_position_even_behind_a_gap_that_nothing_has_dated_yet(more):
    before = Checkpoint(state="listening", position_s=10, heard_s=10, clock=NOON + timedelta(seconds=10), clock_source="program_date_time")
    session, parts = make([Missing(duration_s=6, reason="worker_lost"), *more], checkpoint=before)
    session.run()
    checkpoint, _ = parts["recorder"].commits[-1]
    assert checkpoint.clock == NOON + timedelta(seconds=checkpoint.position_s)


def test_a_source_without_an_end_is_cut_and_what_sounds_goes_on_elsewhere():
    clock = [NOON]
    session, parts = make(
        [segment()] * 5,
        before=lambda n: clock.__setitem__(0, NOON + timedelta(seconds=2 * n + 2)),
        now=lambda: clock[0],
        cut_at=NOON + timedelta(seconds=5),
    )
    assert session.run() == "cut"
    checkpoint, changed = parts["recorder"].commits[-1]
    assert (checkpoint.position_s, changed[0].continues) == (6, True)


def test_a_stream_whose_own_clock_is_wrong_is_not_cut_by_it():
    """Its next session would have this one's name: nobody would listen until our midnight."""
    session, parts = make([segment()] * 3, cut_at=NOON + timedelta(seconds=4), now=lambda: NOON)
    assert session.run() == "endlist"
    assert parts["recorder"].commits[-1][0].clock == NOON + timedelta(seconds=6)


# ------------------------------------------------------------------------------------------------ a database that is away

AWAY = DatabaseUnavailable("away")


class Timed:
    """The session's clock: each piece takes the source two seconds."""

    def __init__(self):
        self.now_s, self.pulled = 0.0, 0

    def __call__(self):
        return self.now_s

    def piece(self, _n):
        self.now_s, self.pulled = self.now_s + 2, self.pulled + 1

    def wait(self, seconds):
        self.now_s += seconds


def away(pieces, *, lasting=False, **parts):
    time = Timed()
    session, made = make(pieces, clock=time, source=ScriptedSource(pieces, time.piece, lasting=lasting), **parts)
    made["signals"].wait = time.wait
    return session, made, time


def numbered(count):
    return [segment(position=str(n)) for n in range(1, count + 1)]


def test_while_there_are_no_answers_the_stream_is_taken_in_and_heard_afterwards():
    session, parts, _ = away(numbered(8), catalogue=Catalogue([None, AWAY, AWAY, AWAY, AWAY, AWAY]))
    assert session.run() == "endlist"
    commits = parts["recorder"].commits
    assert [(c.heard_s, c.source_position) for c, _ in commits] == [(0, ""), (2, "1"), (12, "6"), (14, "7"), (16, "8"), (16, "8")]
    assert all(c.position_s == c.heard_s for c, _ in commits)
    assert [[p.revision for p in changed] for _, changed in commits] == [[], [], [1], [], [], [2]]
    assert parts["hearing"].heard_s == 16


def test_nothing_is_on_record_before_it_is_heard_even_if_the_source_breaks_meanwhile():
    def breaks(n):
        time.piece(n)
        if n == 4:
            raise SourceUnavailable("the origin answers 503")

    session, parts, time = away(numbered(8), catalogue=Catalogue([None, AWAY, AWAY, AWAY, AWAY, AWAY]))
    parts["source"]._before = breaks
    with pytest.raises(SourceUnavailable):
        session.run()
    commits = parts["recorder"].commits
    assert [(c.heard_s, c.source_position, c.last_error != "") for c, _ in commits] == [(0, "", False), (2, "1", False), (8, "4", False), (8, "4", True)]


def test_a_longer_outage_costs_what_there_was_no_room_for_and_no_more():
    session, parts, time = away(numbered(20), buffer_s=6)
    parts["catalogue"].answer = lambda question: Catalogue([AWAY] if 3 < time.now_s < 27 else []).answer(question)
    assert session.run() == "endlist"
    checkpoint, _ = parts["recorder"].commits[-1]
    (gap,) = checkpoint.gaps
    assert (gap.begin_s, gap.reason) == (10, "database_away")  # 2 s were on record, and then there was room for what begins within 6 s
    assert 28 <= gap.end_s <= 28 + AGAIN_S_MAX
    assert checkpoint.heard_s == parts["hearing"].heard_s == parts["meter"].media_s == 40 - checkpoint.gap_s
    assert checkpoint.position_s == 40
    assert parts["meter"].missed_s == [(2, "database_away")] * round(checkpoint.gap_s / 2)


def test_what_was_missed_before_and_what_there_is_no_room_for_are_two_gaps():
    pieces = [*numbered(3), Missing(duration_s=5, reason="late"), *numbered(2)]
    session, parts, _ = away(pieces, catalogue=Catalogue([None] + [AWAY] * 20), buffer_s=3)
    session.run()
    checkpoint, _ = parts["recorder"].commits[-1]
    assert [(gap.begin_s, gap.end_s, gap.reason) for gap in checkpoint.gaps] == [(6, 11, "late"), (11, 15, "database_away")]


def test_what_could_not_be_put_on_record_is_with_one_of_the_next_pieces():
    class Opening(ScriptedHearing):
        """Tells a play with the second piece, and opens it with the third."""

        def hear(self):
            changed = yield from super().hear()
            if self.chunks == 3:
                self.plays = (play(2, "closed"),)
                changed += self.plays
            return changed

    session, parts, _ = away(numbered(6), recorder=Memory([None, AWAY]), hearing=Opening())
    session.run()
    told = [(c.heard_s, [(p.revision, p.state) for p in changed]) for c, changed in parts["recorder"].commits]
    # It is tried again after five seconds; each state of a play is told, and in order.
    assert told[:3] == [(0, []), (8, [(1, "open"), (2, "closed")]), (10, [])]
    assert parts["meter"].plays[:2] == [(1, 7), (2, 7)]


def test_if_nothing_can_be_put_on_record_for_long_what_comes_is_a_gap_too():
    session, parts, _ = away(numbered(10), recorder=Memory([None] + [AWAY] * 3), buffer_s=7)
    session.run()
    assert [(gap.begin_s, gap.end_s, gap.reason) for gap in parts["recorder"].commits[-1][0].gaps] == [(8, 20, "database_away")]


def test_after_a_cut_nothing_more_is_taken_in_however_long_the_answers_take():
    session, parts, time = away(numbered(9), now=lambda: NOON, cut_at=NOON)
    parts["catalogue"].answer = lambda question: Catalogue([AWAY] if 2 < time.now_s < 12 and parts["hearing"].chunks else []).answer(question)
    parts["recorder"].fail = [None, None, AWAY, AWAY, AWAY]
    assert session.run() == "cut"
    assert (time.pulled, parts["recorder"].commits[-1][0].source_position) == (1, "1")


def test_a_source_that_keeps_what_it_has_is_not_read_ahead():
    """It takes the question for the next piece for the word that this one is on record."""
    session, parts, time = away(numbered(3), lasting=True, recorder=Memory([None, AWAY]))
    pulled = []
    commit = parts["recorder"].commit
    parts["recorder"].commit = lambda *arguments: (pulled.append(time.pulled), commit(*arguments))
    session.run()
    assert pulled == [0, 1, 1, 2, 3, 3]


def test_a_database_that_is_away_does_not_hold_up_a_stop():
    signals = Signals()
    signals.request(Stop.HANDOVER)
    session, _ = make([segment()], signals=signals, recorder=Memory([DatabaseUnavailable("away")] * 100))
    with pytest.raises(DatabaseUnavailable):
        session.run()


@pytest.mark.parametrize("error, reason", [(SourceUnsupported("no audio in it"), "failed"), (StreamNotFound("no such channel"), "not_live")])
def test_a_stream_that_cannot_be_heard_goes_on_record_as_ended(error, reason):
    def refuse(n):
        if n == 2:
            raise error

    session, parts = make([segment(), segment(), segment()], before=refuse)
    with pytest.raises(type(error)):
        session.run()
    checkpoint, changed = parts["recorder"].commits[-1]
    assert (checkpoint.state, checkpoint.end_reason, checkpoint.last_error, checkpoint.heard_s) == ("ended", reason, str(error), 4)
    assert [p.state for p in changed] == ["closed"]


@pytest.mark.parametrize("error", [SourceUnavailable("the origin answers 503"), AwsUnavailable("ivs:GetStream got no answer")])
def test_why_a_run_failed_is_on_record_for_people_and_for_the_next_owner(error):
    def fail(n):
        if n == 1:
            raise error

    session, parts = make([segment(), segment()], before=fail)
    with pytest.raises(type(error)):
        session.run()
    checkpoint, changed = parts["recorder"].commits[-1]
    assert (checkpoint.state, checkpoint.last_error, checkpoint.position_s, changed) == ("listening", str(error), 2, [])
    again, parts = make([segment()], checkpoint=checkpoint)
    again.run()
    assert parts["recorder"].commits[0][0].last_error == ""


@pytest.mark.parametrize("error", [AwsRefused("the role may not ask"), SchemaMismatch("no such column")])
def test_what_is_not_the_streams_fault_does_not_end_it(error):
    def refuse(n):
        if n == 1:
            raise error

    session, parts = make([segment(), segment()], before=refuse)
    with pytest.raises(type(error)):
        session.run()
    assert parts["recorder"].commits[-1][0].state == "listening"


class TestSignals:
    def test_a_stronger_stop_wins_and_a_weaker_one_does_not(self):
        signals = Signals()
        for asked, then in [
            (Stop.END, Stop.END),
            (Stop.HANDOVER, Stop.HANDOVER),
            (Stop.END, Stop.HANDOVER),
            (Stop.LOST, Stop.LOST),
            (Stop.HANDOVER, Stop.LOST),
        ]:
            signals.request(asked)
            assert signals.stop is then

    def test_a_nudge_wakes_one_wait(self):
        signals = Signals()
        signals.nudge()
        assert signals.wait(10)
        assert not signals.wait(0)

    def test_a_stop_that_comes_just_before_a_wait_wakes_it(self):
        signals = Signals()
        signals.request(Stop.END)
        assert signals.wait(10)
        signals.request(Stop.END)  # said again with each renewal
        assert not signals.wait(0)

    def test_leaving_never_sleeps(self):
        signals = Signals()
        signals.request(Stop.LOST)
        assert signals.wait(10)


def test_coverage_keeps_reasons_apart():
    coverage = Coverage(Checkpoint())
    for reason in ("late", "origin_down"):
        coverage.add(AudioChunk(samples=np.zeros(0, np.float32), start_s=coverage.position_s + 1, gap_before_s=1, gap_reason=reason))
    assert coverage.gaps == [Gap(begin_s=0, end_s=1, reason="late"), Gap(begin_s=1, end_s=2, reason="origin_down")]


def test_where_it_sounded_like_music_is_kept_and_counted_by_whether_a_play_is_known_there():
    session, parts = make(
        [segment(), segment(), segment()], checkpoint=Checkpoint(music=Music(stretches=(Stretch(begin_s=-9, end_s=-1),), heard_s=8, dropped=2))
    )
    parts["hearing"].music = [Stretch(begin_s=0, end_s=1)]
    hear = parts["hearing"].hear

    def heard():
        changed = yield from hear()
        if changed:
            parts["hearing"].music = [Stretch(begin_s=1, end_s=2), Stretch(begin_s=9, end_s=10)]
        return changed

    parts["hearing"].hear = heard
    session.run()
    assert parts["meter"].music_s == [(1, False), (1, True), (1, False)]
    last = parts["recorder"].commits[-1][0]
    assert last.music == Music(stretches=(Stretch(begin_s=-9, end_s=2), Stretch(begin_s=9, end_s=10)), heard_s=11, dropped=2)
    assert Checkpoint.from_json(last.to_json()) == last


def test_where_somebody_spoke_is_kept():
    session, parts = make([segment()], checkpoint=Checkpoint(speech=(Stretch(begin_s=-9, end_s=-1),)))
    parts["hearing"].speech = [Stretch(begin_s=0, end_s=1)]
    session.run()
    last = parts["recorder"].commits[-1][0]
    assert last.speech == (Stretch(begin_s=-9, end_s=1),)
    assert Checkpoint.from_json(last.to_json()) == last


def test_of_too_many_stretches_of_music_the_shortest_go_and_are_counted():
    coverage = Coverage(Checkpoint())
    for n in range(STRETCHES_MAX + 3):
        coverage.add_music(Stretch(begin_s=100 * n, end_s=100 * n + (1 if n in (5, 7) else 30)))
    coverage.add_music(Stretch(begin_s=900_000, end_s=900_001))
    music = coverage.music
    assert len(music.stretches) == STRETCHES_MAX
    assert music.dropped == 4
    assert music.stretches[-1] == Stretch(begin_s=900_000, end_s=900_001)
    assert not [s for s in music.stretches[:-1] if s.end_s - s.begin_s < 30]
    assert music.heard_s == 30 * (STRETCHES_MAX + 1) + 3


def test_a_checkpoint_of_a_daemon_that_did_not_listen_for_music_is_taken_up():
    assert Checkpoint.from_json('{"state": "listening", "position_s": 12.0}').music == Music()
