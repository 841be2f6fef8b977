"""Music, speech or neither: seconds called so, by what they are, on sound that the weights were not fitted on; and what it costs.

    PYTHONPATH=tests python -m bench musicness          prints the table, and writes build/bench/musicness.json
    PYTHONPATH=tests python -m bench.bench_musicness --fit    fits the weights of earmark.fingerprint.musicness and prints them

The sound is that of the hearing bench under $EARBENCH_HOME (default ~/.cache/earbench): 42 tracks, excerpts of them degraded,
half an hour of a synthesiser's voices, three 20-minute streams. **Fitted** is on the tracks whose name has an even hash, clean
and degraded, against speech, effects and noise that are generated here. **Measured** is on the other tracks, and on the
bench's voices alone, which the fit has heard over music only. What is generated is drawn with other seeds for each.

The measured side is not untouched: which two questions are asked, and the thresholds `BEGINS` and `GOES_ON`, were chosen by hand
in view of this table, the thresholds as low as leaves speech some room below its bar. Seconds without music in the streams are
pauses of 3 to 20 s between pieces; the estimate looks at five on either side.
"""

import hashlib
import json
import operator
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import soundfile
from scipy.optimize import minimize

from bench.rows import row
from earmark.fingerprint.musicness import AROUND_STEPS, Counts, Judged, Musicness, Weights, evidence
from earmark.fingerprint.talk import Talk
from earmark.fingerprint.window import Scratch, Window, fingerprint
from earmark.hearing import STEP_FRAMES
from earmark.local import music
from earmark.local.speech import speech
from earmark.model import FRAMES_PER_S, RATE_HZ, Float32, Float64, Peaks
from fingerprint_audio import music as notes
from hearing_sounds import at_8_khz

COMMAND: Final = "make bench ARGS=musicness"
HOME: Final = Path(os.environ.get("EARBENCH_HOME") or Path.home() / ".cache" / "earbench")
#: Of each track: what comes first is often faded in.
TRACK_S: Final = (5, 120)
CONDITIONS: Final = ("clean", "aac64", "aac32", "live", "speech+5", "speech0", "speech-5", "speech-10", "sfx0", "white5", "pink5", "reverb", "telephone")
#: What the fit hears, and with which weight; the sums of both sides are made equal.
FIT_MUSIC: Final = {"tracks": 2.0, "aac64": 1.0, "speech0": 1.0, "live": 0.5, "sfx0": 0.5, "white5": 0.25}
FIT_OTHER: Final = {"generated speech": 2.0, "four talkers": 1.0, "effects": 0.5, "white noise": 0.25}
#: Shares of seconds called music: at least, and at most.
BARS: Final = {"tracks, clean": 0.9, "aac64": 0.9, "bench's voices, one": 0.1, "bench's voices, four": 0.1, "speechonly": 0.1}
SPEECH_BARS: Final = {"bench's voices, one": 0.85, "speechonly": 0.85, "tracks, clean": 0.02, "generated: white noise": 0.02}
_SCRATCH: Final = Scratch()


# ---------------------------------------------------------------------------------------------------- sound


def held_out(track: str) -> bool:
    return bool(hashlib.sha256(track.encode()).digest()[0] & 1)


class Sound(NamedTuple):
    """At 8 kHz, mono; and its peaks."""

    samples: Float32
    peaks: Peaks


@cache
def heard(path: Path, begin_s: float = 0, seconds: float = -1) -> Sound:
    with soundfile.SoundFile(str(path)) as file:
        file.seek(int(begin_s * file.samplerate))
        samples = file.read(-1 if seconds < 0 else int(seconds * file.samplerate), dtype="float32")
        return sound_of(samples, file.samplerate)


def sound_of(samples: Float32, rate_hz: int) -> Sound:
    at_8 = at_8_khz(samples, rate_hz)
    return Sound(at_8, fingerprint(at_8, scratch=_SCRATCH))


def tracks(*, held: bool) -> Iterator[Sound]:
    return (heard(path, *TRACK_S) for path in sorted((HOME / "catalogue").glob("*.wav")) if held_out(path.stem) is held)


def excerpts(condition: str, *, held: bool) -> Iterator[Sound]:
    for query in json.loads((HOME / "queries.json").read_text(encoding="utf-8")):
        if query["condition"] == condition and query["length_s"] == 12 and (query["track"] is None or held_out(query["track"]) is held):
            yield heard(HOME / "queries" / f"{query['id']}.wav")


def generated(kind: str, seeds: Iterable[int], seconds: float = 60) -> Iterator[Sound]:
    for seed in seeds:
        random = np.random.default_rng(seed)
        match kind:
            case "generated speech":
                yield sound_of(speech(seconds, seed=seed), music.RATE_HZ)
            case "four talkers":
                yield sound_of(sum(speech(seconds, seed=1_000 + 4 * seed + n) for n in range(4)) / np.float32(4), music.RATE_HZ)
            case "effects":
                yield sound_of(effects(random, seconds), RATE_HZ)
            case "white noise":
                yield sound_of((0.05 * random.standard_normal(int(seconds * RATE_HZ))).astype(np.float32), RATE_HZ)
            case "generated music":
                yield sound_of(music.render(music.catalogue(seed + 1)[seed]), music.RATE_HZ)
            case _:
                raise ValueError(kind)


def effects(random: np.random.Generator, seconds: float) -> Float32:
    """Three a second of shots (bursts of noise), lasers (falling tones), coins (two notes) and engines (a buzz that wavers)."""
    out = np.zeros(int(seconds * RATE_HZ))
    for _ in range(int(3 * seconds)):
        at_s = np.arange(int(random.uniform(0.2, 3) * RATE_HZ)) / RATE_HZ
        hz, decay = random.uniform(150, 1_800), np.exp(-at_s * random.uniform(1, 10))
        match int(random.integers(4)):
            case 0:
                sound = random.standard_normal(len(at_s)) * decay
            case 1:
                sound = np.sin(2 * np.pi * np.cumsum(hz * (1 + 2 * decay)) / RATE_HZ) * decay
            case 2:
                sound = np.sin(2 * np.pi * hz * np.where(at_s < 0.08, 1, 4 / 3) * at_s) * decay
            case _:
                sound = 0.3 * ((np.cumsum(hz / 8 * (1 + 0.2 * np.sin(9 * at_s))) / RATE_HZ) % 1 - 0.5)
        begin = int(random.integers(len(out) - 1))
        sound = sound[: len(out) - begin] * 10 ** random.uniform(-0.6, 0)
        out[begin : begin + len(sound)] += sound
    return (0.1 * out / out.std()).astype(np.float32)


# ---------------------------------------------------------------------------------------------------- measuring


def steps(peaks: Peaks) -> Iterator[tuple[Peaks, float]]:
    """As `earmark.hearing` takes them."""
    end = 0
    while end * 8 <= (peaks.eighth_frames[-1] if len(peaks) else 0):
        end += STEP_FRAMES
        yield peaks.between(end - STEP_FRAMES, end), float(end)


def judged(sound: Sound) -> list[Judged]:
    judge, found = Musicness(), list[Judged]()
    for step, end in steps(sound.peaks):
        found += judge.push(step, end)
    return found + judge.flush()


def share(sounds: Iterable[Sound]) -> float:
    """Of the seconds, that are called music."""
    return float(np.mean([step.music for sound in sounds for step in judged(sound)]))


def share_of_speech(sounds: Iterable[Sound]) -> float:
    """Of the seconds, that are called speech: not music, and somebody speaks."""
    spoken = []
    for sound in sounds:
        talk = Talk()
        talk.push(sound.samples)
        talk.flush()
        spoken += [talk.speaks(step.number) and not step.music for step in judged(sound)]
    return float(np.mean(spoken))


def streams() -> dict[str, float]:
    """Share called music of the three streams: where a track that was not fitted on is alone, where it is talked over, where there is none."""
    sums: dict[str, list[bool]] = {"music alone": [], "music talked over": [], "no music": []}
    for number in range(3):
        truth = json.loads((HOME / f"stream{number}.json").read_text(encoding="utf-8"))
        found = judged(heard(HOME / f"stream{number}.wav"))
        on = {step.number for step in found if step.music}
        for step in range(len(found)):
            middle_s = (step + 0.5) * STEP_FRAMES / FRAMES_PER_S
            play = next((play for play in truth if play["start_s"] <= middle_s < play["end_s"]), None)
            if play is None:
                sums["no music"].append(step in on)
            elif held_out(play["track"]):
                talk = play["talk_s"] or [0, 0]
                sums["music talked over" if talk[0] <= middle_s < talk[1] else "music alone"].append(step in on)
    return {name: float(np.mean(values)) for name, values in sums.items()}


def shares() -> dict[str, float | None]:
    found: dict[str, float | None] = {f"generated: {kind}": share(generated(kind, range(100, 104))) for kind in ("generated music", *FIT_OTHER)}
    if not (HOME / "queries.json").exists():
        return found | dict.fromkeys(("tracks, clean", *CONDITIONS, "speechonly", "bench's voices, one", "bench's voices, four"))
    found["tracks, clean"] = share(tracks(held=True))
    found |= {condition: share(excerpts(condition, held=True)) for condition in CONDITIONS}
    found["speechonly"] = share(excerpts("speechonly", held=True))
    found["bench's voices, one"] = share([heard(HOME / "sounds" / "solo.wav")])
    found["bench's voices, four"] = share([heard(HOME / "sounds" / "babble.wav")])
    return found | {f"streams: {name}": value for name, value in streams().items()}


def shares_of_speech() -> dict[str, float | None]:
    kinds = ("generated speech", "four talkers", "effects", "white noise", "generated music")
    found: dict[str, float | None] = {f"generated: {kind}": share_of_speech(generated(kind, range(100, 104))) for kind in kinds}
    names = ("tracks, clean", "speechonly", "bench's voices, one", "bench's voices, four")
    if not (HOME / "queries.json").exists():
        return found | dict.fromkeys(names)
    voices = ([heard(HOME / "sounds" / f"{name}.wav")] for name in ("solo", "babble"))
    return found | dict(zip(names, map(share_of_speech, (tracks(held=True), excerpts("speechonly", held=True), *voices)), strict=True))


def figures() -> list[dict[str, Any]]:
    if not (HOME / "queries.json").exists():
        print(f"musicness: the hearing bench's sound is not under {HOME} (EARBENCH_HOME): only what is generated is measured.", file=sys.stderr)
    music_rows = [_row("music", name, value, BARS.get(name)) for name, value in shares().items()]
    return music_rows + [_row("speech", name, value, SPEECH_BARS.get(name)) for name, value in shares_of_speech().items()] + cost()


def _row(what: str, name: str, value: float | None, bar: float | None) -> dict[str, Any]:
    at_least = bar is not None and bar > 0.5
    return row(
        f"called {what}: {name}",
        None if value is None else 100 * value,
        "% of s",
        command=COMMAND,
        bar=None if bar is None else 100 * bar,
        met=operator.ge if at_least else operator.le,
        digits=1,
    )


def cost() -> list[dict[str, Any]]:
    """CPU per audio second beside the front end's; rounds take turns, the least counts."""
    seconds, samples = 60, notes(51, 60)
    cut = list(steps(fingerprint(samples, scratch=_SCRATCH)))
    least = dict.fromkeys(("front", "judge", "listen"), float("inf"))
    for _ in range(5):
        begin = time.process_time()
        window = Window(_SCRATCH)
        for second in range(seconds):
            window.push(samples[second * RATE_HZ : (second + 1) * RATE_HZ])
        middle = time.process_time()
        judge = Musicness()
        for peaks, end in cut:
            judge.push(peaks, end)
        judged_at = time.process_time()
        talk = Talk()
        for second in range(seconds):
            talk.push(samples[second * RATE_HZ : (second + 1) * RATE_HZ])
        talk.flush()
        for step in range(talk.steps_n):
            talk.speaks(step)
        took = {"front": middle - begin, "judge": judged_at - middle, "listen": time.process_time() - judged_at}
        least = {part: min(least[part], took[part]) for part in least}
    rows = [
        ("music or not: CPU per audio second", least["judge"] / seconds * 1e3, "ms", 0.1),
        ("music or not, over the front end", least["judge"] / least["front"], "ratio", None),
        ("speech or not: CPU per audio second", least["listen"] / seconds * 1e3, "ms", 0.2),
        ("speech or not, over the front end", least["listen"] / least["front"], "ratio", None),
    ]
    return [
        {"figure": name, "value": round(value, 4), "unit": unit, "bar": bar, "met": None if bar is None else value <= bar, "against": "", "command": COMMAND}
        for name, value, unit, bar in rows
    ]


# ---------------------------------------------------------------------------------------------------- fitting


def fit() -> Weights:
    """Logistic regression, a little ridge, each kind of sound with its weight whatever its length, both sides alike."""
    music_side = [(weight, tracks(held=False) if kind == "tracks" else excerpts(kind, held=False)) for kind, weight in FIT_MUSIC.items()]
    other_side = [(weight, generated(kind, range(8))) for kind, weight in FIT_OTHER.items()]
    parts = [(weight, is_music, _evidence(sounds)) for is_music, side in ((1.0, music_side), (0.0, other_side)) for weight, sounds in side]
    x = np.concatenate([rows for _, _, rows in parts])
    y = np.concatenate([np.full(len(rows), is_music) for _, is_music, rows in parts])
    w = np.concatenate([np.full(len(rows), weight / len(rows)) for weight, _, rows in parts])
    w = np.where(y > 0, w / w[y > 0].sum(), w / w[y == 0].sum()) / 2
    mean, spread = x.mean(axis=0), x.std(axis=0)
    z = np.column_stack([np.ones(len(x)), (x - mean) / spread])

    def loss(b: Float64) -> float:
        return float((w * (np.logaddexp(0, z @ b) - y * (z @ b))).sum() + 1e-3 * (b[1:] ** 2).sum())

    b = minimize(loss, np.zeros(z.shape[1])).x
    slopes = b[1:] / spread
    return Weights(float(b[0] - (slopes * mean).sum()), *(float(s) for s in slopes))


def _evidence(sounds: Iterable[Sound]) -> Float64:
    return np.array([evidence(window) for sound in sounds for window in _windows(sound.peaks)])


def _windows(peaks: Peaks) -> Iterator[Sequence[Counts]]:
    """The counts that each step is judged by."""
    judge = Musicness()
    counts = [judge.count(step) for step, _ in steps(peaks)]
    return (counts[max(0, n - AROUND_STEPS) : n + AROUND_STEPS + 1] for n in range(len(counts)))


if __name__ == "__main__":
    if sys.argv[1:] == ["--fit"]:
        if not (HOME / "queries.json").exists():
            sys.exit(f"musicness: the hearing bench's sound is not under {HOME} (EARBENCH_HOME): without it nothing can be fitted.")
        print(fit())
    else:
        for row in figures():
            print(f"{row['figure']:<48}{'not run' if row['value'] is None else row['value']:>10}  {row['unit']:<8}{row['bar'] or '':>8}  {row['met']}")
