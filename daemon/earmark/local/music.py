"""Generated music: a catalogue for the demo and the tests, with nobody's rights in it.

A piece has a form (intro, verse, chorus, …), a chord progression per part, a melody made of varied motifs, bass, pads
and drums. Keys, tempi, progressions and drum patterns come from short lists on purpose, so that pieces share them: a
fingerprint that only heard those would confuse them. What differs are melody, voicing, timbre and the player's timing.

Everything follows from a seed: the same music, whatever the machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.model import Float32, Track

RATE_HZ = 44_100
#: Music leaves this root mean square (-20 dBFS): loud enough, and room for speech on top.
LEVEL = 0.1

_MODES = {"minor": (0, 2, 3, 5, 7, 8, 10), "major": (0, 2, 4, 5, 7, 9, 11), "dorian": (0, 2, 3, 5, 7, 9, 10)}
_KEYS = ((45, "minor"), (48, "major"), (50, "dorian"))
_TEMPI_BPM = (92, 104, 112, 126)
#: Scale degrees, a bar each.
_PROGRESSIONS = ((0, 5, 2, 6), (0, 3, 4, 0), (0, 4, 5, 3), (5, 3, 0, 4))
#: Sixteenths of a bar on which kick, snare and hat fall.
_DRUMS = (
    ((0, 8), (4, 12), (0, 2, 4, 6, 8, 10, 12, 14)),
    ((0, 6, 10), (4, 12), (2, 6, 10, 14)),
    ((0, 4, 8, 12), (4, 12), (2, 6, 10, 14)),
    ((0, 3, 8, 11), (4, 12, 15), (0, 3, 6, 8, 11, 14)),
)
_FORM = "ivvcvcbc"
_PLACES = ("Harbour", "Viaduct", "Orchard", "Lighthouse", "Arcade", "Causeway", "Quarry", "Belvedere", "Tideway", "Colonnade", "Meadow", "Terminus")
_COLOURS = ("Ochre", "Vermilion", "Teal", "Umber", "Indigo", "Celadon", "Saffron", "Slate", "Carmine", "Viridian", "Amber", "Mauve")
_PLAYERS = ("Generated Ensemble", "The Seeded Quartet", "Deterministic Orchestra", "Sine and Sons Synthetic Band")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A recording that does not exist until it is rendered."""

    track: Track
    seed: int
    root: int
    mode: str
    bpm: int
    progression: int
    drums: int


def catalogue(count: int = 12, *, seed: int = 1) -> list[Piece]:
    """`count` pieces that share keys, tempi, progressions and drum patterns; 70 to 110 s each."""
    return [_piece(number, seed) for number in range(count)]


def stranger(number: int = 0, *, like: Piece, seed: int = 1) -> Piece:
    """A piece that is in no catalogue, in the key, at the tempo, over the chords and the drums of one that is."""
    own = _piece(10_000 + number, seed)
    return Piece(track=own.track, seed=own.seed, root=like.root, mode=like.mode, bpm=like.bpm, progression=like.progression, drums=like.drums)


def _piece(number: int, seed: int) -> Piece:
    place, colour = _PLACES[number % len(_PLACES)], _COLOURS[(number * 5 + number // len(_PLACES)) % len(_COLOURS)]
    title = f"{place} in {colour}" if number % 2 else f"{colour} {place}"
    isrc = f"XXDEM26{number:05d}"
    root, mode = _KEYS[number % len(_KEYS)]
    track = Track(
        track_id=f"isrc:{isrc}",
        title=title,
        artists=(_PLAYERS[number % len(_PLAYERS)],),
        album=f"Studies for a Stand-In, Vol. {1 + number // 12}",
        label="Demonstration Recordings",
        isrc=(isrc,),
        rights_holder="Imaginary Rights Society",
    )
    return Piece(
        track=track,
        seed=seed * 100_003 + number,
        root=root,
        mode=mode,
        bpm=_TEMPI_BPM[number // 2 % len(_TEMPI_BPM)],
        progression=number // 3 % len(_PROGRESSIONS),
        drums=number // 4 % len(_DRUMS),
    )


class _Instrument:
    """A wavetable of a random spectrum, bright while a note is young and darker later; notes are rendered once."""

    _TABLE_BITS = 12

    def __init__(self, random: np.random.Generator, *, decay_per_s: float, attack_s: float, detune_cents: float) -> None:
        self._random = random
        self._decay_per_s, self._attack_s, self._detune_cents = decay_per_s, attack_s, detune_cents
        self._spectrum = random.uniform(0.2, 1.0, 40) / np.arange(1, 41) ** random.uniform(0.7, 1.6)
        self._spectrum *= np.where(np.arange(1, 41) % 2, 1.0, random.uniform(0.1, 1.0))
        self._phases = random.uniform(0, 2 * np.pi, 40)
        self._tables: dict[int, Float32] = {}
        self._notes: dict[tuple[int, int, int], Float32] = {}

    def note(self, pitch: int, samples: int) -> Float32:
        """One of three renderings of this note, as a player's touch is never twice the same."""
        key = (pitch, samples, int(self._random.integers(3)))
        if key not in self._notes:
            self._notes[key] = self._render(pitch, samples)
        return self._notes[key]

    def _render(self, pitch: int, samples: int) -> Float32:
        hz = 440 * 2 ** ((pitch - 69) / 12)
        table = self._table(min(40, int(9_000 / hz)))
        clock = np.arange(samples, dtype=np.uint32)
        sound = np.zeros(samples, np.float32)
        for cents in (-self._detune_cents, self._detune_cents) if self._detune_cents else (0.0,):
            # A turn is 2^32, so that unsigned arithmetic wraps where the wave does; its top bits are a place in the table.
            turn = np.uint32(hz * 2 ** (cents / 1200) / RATE_HZ * 2**32)
            sound += table[(clock * turn + np.uint32(self._random.integers(2**32))) >> np.uint32(32 - self._TABLE_BITS)]
        seconds = clock.astype(np.float32) / np.float32(RATE_HZ)
        sound *= np.exp(-seconds * np.float32(self._decay_per_s * self._random.uniform(0.85, 1.2)))
        for ramp, length_s in ((sound, self._attack_s), (sound[::-1], 0.02)):
            n = min(samples, int(length_s * RATE_HZ))
            ramp[:n] *= np.linspace(0, 1, n, dtype=np.float32)
        return sound

    def _table(self, harmonics: int) -> Float32:
        if harmonics not in self._tables:
            turns = np.linspace(0, 2 * np.pi, 1 << self._TABLE_BITS, endpoint=False)
            order = np.arange(1, harmonics + 1)[:, None]
            wave_ = (self._spectrum[:harmonics, None] * np.sin(order * turns + self._phases[:harmonics, None])).sum(0)
            self._tables[harmonics] = (wave_ / np.sqrt(np.mean(wave_**2))).astype(np.float32)
        return self._tables[harmonics]


class _Kit:
    """Kick, snare and hat of one piece; noise is drawn again for every stroke."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        time_s = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
        sweep_hz = random.uniform(42, 58) + random.uniform(90, 180) * np.exp(-time_s * random.uniform(25, 45))
        self._kick = (np.sin(2 * np.pi * np.cumsum(sweep_hz) / RATE_HZ) * np.exp(-time_s * random.uniform(8, 14))).astype(np.float32)
        short = time_s[: int(0.18 * RATE_HZ)]
        self._snare_body = (np.sin(2 * np.pi * random.uniform(170, 240) * short) * np.exp(-short * 22)).astype(np.float32)
        self._snare_decay = np.exp(-short * random.uniform(16, 30)).astype(np.float32)
        self._hat_decay = np.exp(-time_s[: int(0.06 * RATE_HZ)] * random.uniform(60, 110)).astype(np.float32)

    def stroke(self, which: int) -> Float32:
        if which == 0:
            return self._kick
        decay = self._snare_decay if which == 1 else self._hat_decay
        noise = self._random.standard_normal(len(decay), np.float32)
        if which == 1:
            return 0.6 * self._snare_body + 0.35 * noise * decay
        return 0.25 * np.diff(noise, prepend=np.float32(0)) * decay  # the difference is a high-pass


def render(piece: Piece) -> Float32:
    """The recording: mono float32 [n] at RATE_HZ, in [-1, 1]."""
    random = np.random.default_rng(piece.seed)
    beat_s = 60 / piece.bpm
    # As many parts of eight bars as come closest to 90 s.
    parts = _FORM[: max(4, round(90 / (8 * 4 * beat_s)))]
    seconds = len(parts) * 8 * 4 * beat_s
    mix = np.zeros(int((seconds + 2) * RATE_HZ), np.float32)
    band = _Band(piece, random)
    for number, part in enumerate(parts):
        for at_s, gain, sound in band.play(part, number * 8 * 4 * beat_s):
            begin = max(0, int(at_s * RATE_HZ))
            end = min(len(mix), begin + len(sound))
            mix[begin:end] += np.float32(gain) * sound[: end - begin]
    delay = int(0.75 * beat_s * RATE_HZ)
    mix[delay:] += 0.25 * mix[:-delay]  # an echo, in time
    mix *= np.float32(LEVEL / np.sqrt(np.mean(mix**2)))
    return np.tanh(mix).astype(np.float32)


class _Band:
    """Who plays a piece, and what; `play` yields sounds with their time and loudness."""

    def __init__(self, piece: Piece, random: np.random.Generator) -> None:
        self._piece = piece
        self._random = random
        self._scale = _MODES[piece.mode]
        self._lead = _Instrument(random, decay_per_s=random.uniform(1.5, 5), attack_s=random.uniform(0.004, 0.03), detune_cents=random.choice([0.0, 4.0]))
        self._pad = _Instrument(random, decay_per_s=0.3, attack_s=random.uniform(0.05, 0.25), detune_cents=7.0)
        self._bass = _Instrument(random, decay_per_s=random.uniform(2, 5), attack_s=0.006, detune_cents=0.0)
        self._kit = _Kit(random)
        self._beat_s = 60 / piece.bpm
        self._lift = 12 * int(random.integers(0, 2))
        self._motifs = {part: [self._motif() for _ in range(2)] for part in "ivcb"}
        #: The chorus and the bridge have a progression of their own.
        chords = [(piece.progression + shift) % len(_PROGRESSIONS) for shift in (0, int(random.integers(1, 4)), int(random.integers(1, 4)))]
        self._chords = {"i": chords[0], "v": chords[0], "c": chords[1], "b": chords[2]}

    def play(self, part: str, begin_s: float) -> Iterator[tuple[float, float, Float32]]:
        """Eight bars."""
        for bar in range(8):
            at_s = begin_s + bar * 4 * self._beat_s
            degree = _PROGRESSIONS[self._chords[part]][bar % 4]
            yield from self._harmony(part, degree, at_s)
            if part != "i":
                yield from self._rhythm(part, bar, at_s)
            if part != "i" or bar >= 4:
                yield from self._melody(self._motifs[part][bar // 2 % 2], bar, degree, at_s)

    def _pitch(self, degree: int, octave: int = 0) -> int:
        return self._piece.root + 12 * (octave + degree // 7) + self._scale[degree % 7]

    def _samples(self, beats: float) -> int:
        return int(beats * self._beat_s * RATE_HZ)

    def _human(self) -> float:
        return float(self._random.normal(0, 0.006))

    def _touch(self) -> float:
        return float(self._random.uniform(0.7, 1.1))

    def _harmony(self, part: str, degree: int, at_s: float) -> Iterator[tuple[float, float, Float32]]:
        for step in (0, 2, 4, 6) if part in "cb" else (0, 2, 4):
            yield at_s + self._human(), 0.11 * self._touch(), self._pad.note(self._pitch(degree + step, 1), self._samples(4))
        for beat in (0, 1.5, 2, 3.5) if part == "c" else (0, 2, 3):
            yield at_s + beat * self._beat_s + self._human(), 0.5 * self._touch(), self._bass.note(self._pitch(degree) - 12, self._samples(0.9))

    def _rhythm(self, part: str, bar: int, at_s: float) -> Iterator[tuple[float, float, Float32]]:
        for which, sixteenths in enumerate(_DRUMS[self._piece.drums]):
            for sixteenth in sixteenths:
                yield at_s + sixteenth / 4 * self._beat_s + self._human(), (2.0, 1.8, 0.9)[which] * self._touch(), self._kit.stroke(which)
        if bar == 7 and part in "vb":  # a fill leads into the next part
            for sixteenth in (8, 10, 12, 13, 14, 15):
                yield at_s + sixteenth / 4 * self._beat_s + self._human(), 1.6 * self._touch(), self._kit.stroke(1)

    def _motif(self) -> list[tuple[float, float, int]]:
        """Two bars: (beat, length in beats, scale steps above the chord's root)."""
        notes, beat, step = [], 0.0, int(self._random.integers(0, 8))
        while beat < 8:
            length = float(self._random.choice([0.5, 0.5, 0.75, 1, 1, 1.5, 2]))
            if self._random.random() > 0.15:
                notes.append((beat, length, step))
            step = int(np.clip(step + self._random.integers(-3, 4), -2, 10))
            beat += length
        return notes

    def _melody(self, motif: Sequence[tuple[float, float, int]], bar: int, degree: int, at_s: float) -> Iterator[tuple[float, float, Float32]]:
        for beat, length, step in motif:
            if int(beat) // 4 != bar % 2:
                continue
            varied = step + (int(self._random.integers(-2, 3)) if self._random.random() < 0.25 else 0)
            pitch = self._pitch(degree + varied, 1) + self._lift
            yield at_s + beat % 4 * self._beat_s + self._human(), 0.7 * self._touch(), self._lead.note(pitch, self._samples(min(length, 2) + 0.25))
