"""Does a hit still hold? Its match, computed again from its evidence against the catalogue of now.

    checksums     is each part of the evidence what it was when the hit was told?
    the clip      decoded, fingerprinted, laid over the recording: the whole way once more, by any version of the fingerprint
    the peaks     all that were heard in the window that proved it, laid over the recording
    the line      of older hits, whose other peaks were not kept: those on the line alone, worth no more than was told

What a hit was told with is on record in PostgreSQL; what lies in S3 is compared with that. A part that cannot be had is said to be
so, and keeps nobody from judging by the others; one that was altered does.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np

from earmark.audio.file import read_samples
from earmark.errors import EarmarkError
from earmark.fingerprint.window import fingerprint
from earmark.hits.text import clock_time
from earmark.matching.again import Again, again, heard_peaks, line_of, wanted
from earmark.matching.proposals import joined
from earmark.matching.verification import Constellation, Line
from earmark.model import FINGERPRINT_VERSION, FRAMES_PER_S, RATE_HZ, Float32, MatchParams, Passage, Reference
from earmark.postgres import Connection

#: Nothing that lies beside a hit is larger: a clip of a minute has half a megabyte.
BYTES_MAX: Final = 8_000_000
#: No clip is longer, whatever its file says.
_CLIP_S_MAX: Final = 120.0

State: TypeAlias = Literal["intact", "altered", "missing", "waiting", "not read", "no checksum"]


class Catalogue(Protocol):
    """What is asked of it."""

    def track_no(self, track_id: str) -> int | None:
        """None if it has no such recording. Raises DatabaseUnavailable, as the other."""
        ...

    def fetch(self, passages: tuple[Passage, ...]) -> list[Reference]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the evidence, and whether it is what it was."""

    name: str
    state: State
    key: str = ""
    sha256: str = ""
    #: A sentence, where there is more to say.
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The match, computed again."""

    #: What it was computed from.
    by: Literal["clip", "peaks", "line"]
    nats: float
    #: Of the stream.
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Of one hit."""

    hit_id: str
    track_id: str
    holds: bool
    #: In a sentence.
    reason: str
    #: As it was told, and what was asked for then; None: nothing is kept.
    told_nats: float | None
    threshold_nats: float | None
    #: Once more: by the clip if there is one, and by the peaks.
    scores: tuple[Score, ...] = ()
    parts: tuple[Part, ...] = ()
    #: What should be known besides, in sentences.
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnRecord:
    """A hit in its newest revision, and its evidence as it was written."""

    hit: Mapping[str, Any]
    #: The very text; None: there is none, or none any more.
    text: str | None
    evidence: Mapping[str, Any] | None
    #: SHA-256 of the recording's constellation as the catalogue has it now; None: it does not.
    peaks_sha256: str | None
    #: Keys that wait for S3 yet.
    waiting: frozenset[str]


def on_record(connection: Connection, hit_id: str) -> OnRecord | None:
    """None if there is no such hit."""
    row = connection.execute("select body, evidence::text, evidence from play where hit_id = %s", [hit_id]).fetchone()
    if row is None:
        return None
    body, text, evidence = row
    heard_as = evidence.get("heard_as") if isinstance(evidence, Mapping) else None
    track_id = heard_as if isinstance(heard_as, str) else body["reference"]["track_id"]
    track = connection.execute("select encode(peaks_sha256, 'hex') from track where track_id = %s", [track_id]).fetchone()
    keys = [told["key"] for told in _told(body).values()]
    waiting = connection.execute("select key from outbox where target in ('s3', 'clip') and key = any(%s)", [keys]).fetchall()
    return OnRecord(hit=body, text=text, evidence=evidence, peaks_sha256=track[0] if track else None, waiting=frozenset(key for (key,) in waiting))


def _told(hit: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the hit says lies beside it, by what it is."""
    proof = hit["evidence"]
    told = {"peaks": proof, "picture": proof.get("picture"), "clip": proof.get("clip")}
    return {name: part for name, part in told.items() if part and part.get("key")}


def verify(record: OnRecord, catalogue: Catalogue, params: MatchParams, *, read: Callable[[str], bytes | None] | None) -> Verdict:
    """Judge one hit.

    Args:
        read: an object of the bucket by its key, `BYTES_MAX` of it at most; None where there is none. Raises AwsRefused, AwsUnavailable.
            Without one, what PostgreSQL has is judged.

    Raises DatabaseUnavailable, CatalogueMismatch.
    """
    return _Verifying(record, catalogue, params, read).verdict()


class _Verifying:
    def __init__(self, record: OnRecord, catalogue: Catalogue, params: MatchParams, read: Callable[[str], bytes | None] | None) -> None:
        self._record, self._catalogue, self._params, self._read = record, catalogue, params, read
        self._parts: list[Part] = []
        self._notes: list[str] = []
        self._clip: bytes | None = None

    def verdict(self) -> Verdict:
        self._check_record()
        for name, told in _told(self._record.hit).items():
            self._check(name, told)
        evidence = self._record.evidence
        if evidence is None:
            why = "it was told by a version that kept nothing, or retention.evidence_days are over"
            return self._say(holds=False, reason=f"nothing is kept that proves it: {why}")
        try:
            return self._judged(evidence)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # whoever writes into the database may have written anything
            return self._say(holds=False, reason="what is on record is no evidence that this version can read")

    def _judged(self, evidence: Mapping[str, Any]) -> Verdict:
        asked, scores = float(evidence["score"]["threshold_nats"]), []
        reference = self._reference(evidence)
        if not isinstance(reference, str):
            scores = [score for score in (self._by_clip(evidence, reference), self._by_peaks(evidence, reference)) if score]
        if altered := [part for part in self._parts if part.state == "altered"]:
            return self._say(holds=False, reason=f"its evidence is not what it was when it was told: {_listed(altered)}", scores=scores)
        if isinstance(reference, str):
            return self._say(holds=False, reason=reference)
        if not scores:
            return self._say(holds=False, reason="it cannot be computed again: what is kept of it cannot be compared with this catalogue")
        best = scores[0]
        if best.nats < asked:
            return self._say(holds=False, reason=f"{best.nats:.1f} nats by the {best.by} are less than the {asked:.1f} that were asked for", scores=scores)
        if any(score.nats < asked for score in scores):
            self._notes.append("the clip proves it, and the peaks that are kept do not")
        return self._say(holds=True, reason=f"{best.nats:.1f} nats by the {best.by}, where {asked:.1f} were asked for", scores=scores)

    def _say(self, *, holds: bool, reason: str, scores: "list[Score] | None" = None) -> Verdict:
        hit, evidence = self._record.hit, self._record.evidence
        score = evidence.get("score", {}) if isinstance(evidence, Mapping) else {}
        return Verdict(
            hit_id=hit["hit_id"],
            track_id=hit["reference"]["track_id"],
            holds=holds,
            reason=reason,
            told_nats=_number(score, "evidence_nats"),
            threshold_nats=_number(score, "threshold_nats"),
            scores=tuple(scores or ()),
            parts=tuple(self._parts),
            notes=tuple(self._notes),
        )

    # -------------------------------------------------------------------------------------------- checksums

    def _check_record(self) -> None:
        """What is in PostgreSQL, which is what is judged."""
        text, said = self._record.text, self._record.hit["evidence"].get("sha256", "")
        if text is not None:
            self._parts.append(_compared("the record", "", said, text.encode()))

    def _check(self, name: str, told: Mapping[str, Any]) -> None:
        """What is in S3."""
        key, said = told["key"], told.get("sha256", "")
        if self._read is None:
            self._parts.append(Part(name=f"the {name}", state="not read", key=key, sha256=said, reason="no bucket is set (results.bucket)"))
            return
        try:
            content = self._read(key)
        except EarmarkError as error:
            self._parts.append(Part(name=f"the {name}", state="not read", key=key, sha256=said, reason=str(error)))
            return
        if content is None:
            state: State = "waiting" if key in self._record.waiting else "missing"
            self._parts.append(Part(name=f"the {name}", state=state, key=key, sha256=said))
            return
        part = _compared(f"the {name}", key, said, content)
        # An older revision may be there while the newer one is on its way.
        if part.state == "altered" and key in self._record.waiting:
            part = Part(name=part.name, state="waiting", key=key, sha256=said)
        self._parts.append(part)
        if name == "clip" and part.state != "altered":
            self._clip = content

    # -------------------------------------------------------------------------------------------- the catalogue

    def _reference(self, evidence: Mapping[str, Any]) -> "Callable[[tuple[Line, ...], float, float], Constellation] | str":
        """Gives the recording's peaks; or why there are none."""
        track_id = evidence.get("heard_as") or evidence["track_id"]
        track_no = self._catalogue.track_no(track_id)
        if track_no is None:
            return f"the recording {track_id} is not in the catalogue (any more): `earmark catalogue add` brings it back"
        was = evidence.get("recording", {}).get("peaks_sha256")
        if was and was != self._record.peaks_sha256:
            self._notes.append("the recording was replaced since by other content of the same name, which is what it is compared with")
        elif not was:
            self._notes.append("nobody wrote down which content the recording had then")

        def peaks(lines: tuple[Line, ...], begin_s: float, end_s: float) -> Constellation:
            passages = wanted(track_no, lines, begin_s, end_s)
            return joined(self._catalogue.fetch(passages)) if passages else Constellation.none()

        return peaks

    # -------------------------------------------------------------------------------------------- scores

    def _by_clip(self, evidence: Mapping[str, Any], reference: Callable[..., Constellation]) -> Score | None:
        if self._clip is None:
            return None
        told = self._record.hit["evidence"]["clip"]
        try:
            samples = _sound(self._clip)
        except EarmarkError as error:
            self._notes.append(f"the clip cannot be heard: {error}")
            return None
        begin_s = float(told["begin_s"])
        end_s = begin_s + len(samples) / RATE_HZ
        heard = Constellation.of(fingerprint(samples), begin_s * FRAMES_PER_S)
        lines = (*self._line_of_hit(), _line(evidence))
        return self._score("clip", again(heard, reference(lines, begin_s, end_s), lines, begin_s, end_s, window_s=self._params.window_s))

    def _line_of_hit(self) -> tuple[Line, ...]:
        """From its beginning; the evidence's line may be of minutes later, and no tempo is exact. Of an alias the evidence knows more."""
        hit = self._record.hit
        speed, place = float(hit["transform"]["speed"]), hit["reference"]
        if "heard_as" in place:
            return ()
        offset_s = place["begin_s"] - speed * hit["query"]["begin_s"]
        return (line_of(speed=speed, offset_s=offset_s, pitch_cents=hit["transform"]["pitch_cents"]),)

    def _by_peaks(self, evidence: Mapping[str, Any], reference: Callable[..., Constellation]) -> Score | None:
        if evidence["fingerprint_version"] != FINGERPRINT_VERSION:
            kept, ours = evidence["fingerprint_version"], FINGERPRINT_VERSION
            self._notes.append(f"its peaks are of version {kept} of the fingerprint and the catalogue is of version {ours}: they cannot be compared")
            return None
        matched, others = evidence["matched"], evidence.get("others", {"stream_s": [], "frequency_hz": []})
        whole = len(matched["stream_s"]) + len(others["stream_s"]) == evidence["peaks"]["heard"]
        heard = heard_peaks([*matched["stream_s"], *others["stream_s"]], [*matched["frequency_hz"], *others["frequency_hz"]])
        query, line = evidence["query"], _line(evidence)
        begin_s, end_s = query["begin_s"], query["end_s"]
        found = again(heard, reference((line,), begin_s, end_s), (line,), begin_s, end_s, window_s=end_s - begin_s)
        if whole:
            return self._score("peaks", found)
        self._notes.append("of what was heard only the peaks on the line were kept: what they are worth is bounded by what was told")
        score = self._score("line", found)
        return Score(by="line", nats=min(score.nats, evidence["score"]["evidence_nats"]), begin_s=score.begin_s, end_s=score.end_s)

    @staticmethod
    def _score(by: Literal["clip", "peaks", "line"], found: Again) -> Score:
        return Score(by=by, nats=round(found.evidence.nats, 1), begin_s=round(found.begin_s, 3), end_s=round(found.end_s, 3))


def _number(of: Any, name: str) -> float | None:
    value = of.get(name) if isinstance(of, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _line(evidence: Mapping[str, Any]) -> Line:
    line = evidence["line"]
    return line_of(speed=line["speed"], offset_s=line["offset_s"], pitch_cents=line["pitch_cents"])


def _compared(name: str, key: str, said: str, content: bytes) -> Part:
    is_now = hashlib.sha256(content).hexdigest()
    if not said:
        return Part(name=name, state="no checksum", key=key, sha256=is_now, reason="it was told by a version that kept none")
    if is_now == said:
        return Part(name=name, state="intact", key=key, sha256=said)
    return Part(name=name, state="altered", key=key, sha256=said, reason=f"its SHA-256 is {is_now[:16]}… and was {said[:16]}…")


def _listed(parts: list[Part]) -> str:
    return ", ".join(f"{part.name} ({part.reason})" for part in parts)


def _sound(content: bytes) -> Float32:
    """Raises UnreadableAudio, SourceUnsupported."""
    held: list[Float32] = []
    for chunk in read_samples(io.BytesIO(content)):
        held.append(chunk.samples)
        if chunk.end_s > _CLIP_S_MAX:
            break
    return np.concatenate(held)


# ------------------------------------------------------------------------------------------------ for people


_IN_WORDS: Final[Mapping[State, str]] = {
    "intact": "what it was",
    "altered": "ALTERED",
    "missing": "not there",
    "waiting": "on its way to S3",
    "not read": "not read",
    "no checksum": "without a checksum",
}


def text(verdict: Verdict, hit: Mapping[str, Any], name: str) -> str:
    """A dozen lines; `name`: of the recording."""
    lines = [f"Hit        {hit['hit_id']} revision {hit['revision']}, {hit['state']}", f"Recording  {name}"]
    for n, part in enumerate(verdict.parts):
        reason = f": {part.reason}" if part.reason else ""
        lines.append(f"{'' if n else 'Evidence':<11}{part.name}: {_IN_WORDS[part.state]}{reason}")
    if verdict.told_nats is not None and verdict.threshold_nats is not None:
        lines.append(f"Told       {verdict.told_nats:.1f} nats, where {verdict.threshold_nats:.1f} were asked for")
    for score in verdict.scores:
        place = f"{clock_time(score.begin_s)}-{clock_time(score.end_s)} of the stream"
        lines.append(f"Again      {score.nats:.1f} nats by the {score.by}, in {place}")
    lines += [f"Note       {note}" for note in verdict.notes]
    return "\n".join([*lines, f"Verdict    {'it holds' if verdict.holds else 'IT DOES NOT HOLD'}: {verdict.reason}"]) + "\n"
