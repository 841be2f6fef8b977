"""How decoded frames hold their samples: as numbers, from which plane, and what mono is made of them."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame

from earmark.model import Float32

Samples = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Numbers:
    """How a format writes samples."""

    dtype: type[np.number[Any]]
    full: float
    zero: int = 0


_NUMBERS: Final = {
    "flt": Numbers(np.float32, 1.0),
    "dbl": Numbers(np.float64, 1.0),
    "u8": Numbers(np.uint8, 128.0, 128),
    "s16": Numbers(np.int16, 32_768.0),
    "s32": Numbers(np.int32, 2_147_483_648.0),
}


def numbers_of(frame: AudioFrame) -> Numbers | None:
    """None for formats that no decoder here makes."""
    return _NUMBERS.get(frame.format.name.removesuffix("p"))


def channels_of(frame: AudioFrame, numbers: Numbers) -> list[Samples]:
    """Views of the frame's own memory, [samples] for each channel."""
    samples, channels = frame.samples, frame.layout.nb_channels
    # Of eight channels PyAV lists nine planes: it counts pointers up to the first that is none, and behind the eighth comes something else.
    planes = [np.frombuffer(memoryview(plane), numbers.dtype) for plane in frame.planes[:channels]]
    if frame.format.is_planar:
        return [plane[:samples] for plane in planes]
    return [planes[0][channel : channels * samples : channels] for channel in range(channels)]


def mono_of(channels: list[Samples], numbers: Numbers) -> Float32:
    """float32 [n] in [-1, 1]: the mean of one or two channels; of one, it may be the same memory."""
    if len(channels) == 1:
        mono: Float32 = channels[0].astype(np.float32, copy=False)
    else:
        mono = np.add(*channels, dtype=np.float32)
        mono *= np.float32(0.5)
    if numbers.zero:
        mono -= np.float32(numbers.zero)
    return mono if numbers.full == 1 else np.multiply(mono, np.float32(1 / numbers.full), out=mono)
