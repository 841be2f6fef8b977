"""How loud a recording is, by FFmpeg's `ebur128`: decoded frames in, EBU R 128's measures out, and which tenths of a second sound.

    frame ─▶ finite samples ─▶ one format ─▶ ebur128 ─▶ a frame of 100 ms each, with all measures so far

The filter hears the decoded signal, at its own rate and with all of its channels, as BS.1770 weighs them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.filter import Graph

from earmark.audio.containers import BAD_BYTES, reason_of
from earmark.audio.frames import channels_of, numbers_of
from earmark.model import Bool

#: R 128's own gate: quieter blocks of 400 ms are not counted, whatever they are.
GATE_LUFS: Final = -70.0
#: What is quieter is silence: -60 dB, as FFmpeg's silencedetect has it, weighed as loudness is, so that direct current and rumble are none.
SILENCE_LUFS: Final = -60.0
#: Of momentary loudness: one every 100 ms, over the last 400 ms.
STEP_S: Final = 0.1
_STEPS: Final = 4
#: Of the loudness range.
_RANGE_STEPS: Final = 30
#: Against full scale: the filter tells it in thousandths.
_PEAK_MIN: Final = 0.001
#: Samples beyond this, 20 dB over full scale, are no recording's: its numbers mean something else.
_FULL_SCALES_MAX: Final = 10.0
_KEY: Final = "lavfi.r128."


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of a whole signal; what is None is so for a reason: its own in `why`, or that of all, in `flaw`."""

    loudness_lufs: float | None = None
    loudness_range_lu: float | None = None
    true_peak_dbtp: float | None = None
    #: bool [n]: which tenths of a second sound.
    sounding: Bool | None = None
    flaw: str = ""
    why: Mapping[str, str] = field(default_factory=dict)


class Loudness:
    """Of one signal: `push` each decoded frame, in order; then `finish`. Keeps four seconds of samples, and four bytes for each 100 ms."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._format: tuple[str, str, int] | None = None
        #: Brings what has another format than the first frame to that; of the last such format.
        self._resampler: tuple[tuple[str, str, int], AudioResampler] | None = None
        self._samples_n = 0
        self._momentary: list[float] = []
        self._last: dict[str, str] = {}
        self._largest = 0.0
        self._flaw = ""

    def push(self, frame: AudioFrame) -> None:
        """Of the frame, samples that are no numbers are silence from then on, and its time stamps, which may jump, count samples."""
        if self._flaw:
            return
        try:
            self._heed(frame)
            for part in self._alike(frame):
                self._measure(part)
        except BAD_BYTES as error:
            self._flaw = f"FFmpeg's ebur128 refuses it: {reason_of(error)}"

    def finish(self) -> Measured:
        if not self._flaw and self._graph is not None:
            try:
                self._graph.push(None)
                self._pull(self._graph)
            except BAD_BYTES as error:
                self._flaw = f"FFmpeg's ebur128 refuses it: {reason_of(error)}"
        if self._flaw or self._largest > _FULL_SCALES_MAX:
            flaw = self._flaw or f"its samples go up to {self._largest:.3g} times full scale, so they are no measure of level"
            return Measured(flaw=flaw)
        if len(self._momentary) < _STEPS:
            return Measured(flaw="it is too short: EBU R 128 measures 0.4 s at a time")
        sounding = closed(np.array(self._momentary) > SILENCE_LUFS)
        loudness, peak = self._number("I"), self._number("true_peak")
        if loudness <= GATE_LUFS:
            return Measured(sounding=sounding, flaw=f"it is silent: nothing in it is above {GATE_LUFS:.0f} LUFS, below which EBU R 128 does not count")
        why = {}
        if len(self._momentary) < _RANGE_STEPS:
            why["loudness_range_lu"] = "it is too short: EBU Tech 3342 measures 3 s at a time"
        if peak < _PEAK_MIN:
            why["true_peak_dbtp"] = "it is below -60 dBTP, which FFmpeg's ebur128 does not tell"
        return Measured(
            loudness_lufs=loudness,
            loudness_range_lu=None if "loudness_range_lu" in why else self._number("LRA"),
            true_peak_dbtp=None if "true_peak_dbtp" in why else 20 * math.log10(peak),
            sounding=sounding,
            why=why,
        )

    def _number(self, name: str) -> float:
        return float(self._last[_KEY + name])

    # -------------------------------------------------------------------------------------------- frames

    def _heed(self, frame: AudioFrame) -> None:
        """One sample that is no number would make all that follow none: the filter is recursive."""
        numbers = numbers_of(frame)
        if numbers is None or not np.issubdtype(numbers.dtype, np.floating):
            return
        for channel in channels_of(frame, numbers):
            largest = float(np.max(np.abs(channel), initial=0))
            if not math.isfinite(largest):
                _silence(channel)
                largest = float(np.max(np.abs(channel), initial=0))
            self._largest = max(self._largest, largest)

    def _alike(self, frame: AudioFrame) -> list[AudioFrame]:
        """In the first frame's format: the filter takes no other."""
        here = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._format is None:
            self._format, self._graph = here, _graph_of(frame)
        if here == self._format:
            return [frame]
        if self._resampler is None or self._resampler[0] != here:
            name, layout, rate_hz = self._format
            self._resampler = here, AudioResampler(format=name, layout=layout, rate=rate_hz)
        return self._resampler[1].resample(frame)

    def _measure(self, frame: AudioFrame) -> None:
        assert self._graph is not None
        frame.pts, frame.time_base = self._samples_n, Fraction(1, frame.sample_rate)
        self._graph.push(frame)
        self._samples_n += frame.samples
        self._pull(self._graph)

    def _pull(self, graph: Graph) -> None:
        while True:
            try:
                made = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if measures := made.metadata:  # what is left at the end, less than 100 ms, has none
                self._last = measures
                self._momentary.append(float(measures.get(f"{_KEY}M", "nan")))


def _graph_of(frame: AudioFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=Fraction(1, frame.sample_rate))
    meter = graph.add("ebur128", "metadata=1:peak=true:framelog=quiet")
    graph.link_nodes(source, meter, graph.add("abuffersink"))
    graph.configure()
    return graph


def _silence(channel: "npt.NDArray[np.floating]") -> None:
    channel[~np.isfinite(channel)] = 0


def closed(loud: Bool) -> Bool:
    """bool [n]: which steps sound, of those over whose last 400 ms the signal is loud.

    A step sounds if each 400 ms that it lies in is loud: so what ends is over when it ends, and what pauses for less than 400 ms goes on.
    """
    loud = loud.copy()
    loud[: _STEPS - 1] = True  # the first 400 ms are over with the fourth step
    padded = np.concatenate([loud, np.ones(_STEPS - 1, np.bool_)])
    sounds: Bool = np.logical_and.reduce([padded[later : later + len(loud)] for later in range(_STEPS)])
    return sounds
