"""What the fingerprint of generated audio was when its version was last raised. To write it anew: python tests/fingerprint_golden.py"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from earmark.fingerprint.landmarks import AGAIN, DEEP, LIVE, landmarks, pair_questions, triple_questions
from earmark.fingerprint.window import fingerprint
from earmark.model import FINGERPRINT_VERSION, Float32, Landmarks, Peaks
from fingerprint_audio import music, noise

PATH: Final = Path(__file__).parent / "unit" / "fingerprint_golden.json"


def audio() -> Float32:
    """Music, then noise, then music in noise; 16 s."""
    return np.concatenate([music(41, 8), noise(42, 2), (music(43, 6) + noise(44, 6) / 4).astype(np.float32)])


def digest(found: Landmarks) -> str:
    data = found.hash.astype("<i4").tobytes() + np.rint(found.frame * 8).astype("<i4").tobytes()
    return hashlib.sha256(data).hexdigest()


def digests(peaks: Peaks) -> dict[str, str]:
    """Of what is hashed from these peaks: the same numbers in, so it is the same on every processor."""
    found = {"landmarks": digest(landmarks(peaks))}
    for depth_name, depth in (("live", LIVE), ("again", AGAIN), ("deep", DEEP)):
        for speed in (1.0, 0.96):
            for family_name, family in (("triples", triple_questions), ("pairs", pair_questions)):
                asked = family(peaks, begin_frame=0, end_frame=math.inf, speed=speed, depth=depth)
                found[f"{family_name}, {depth_name}, at {speed:g}"] = digest(asked)
    return found


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found


def peaks_of(columns: dict[str, Any]) -> Peaks:
    return Peaks(
        eighth_frames=np.array(columns["eighth_frames"], np.int32),
        eighth_hz=np.array(columns["eighth_hz"], np.int32),
        hashed=np.array(columns["hashed"], np.bool_),
        salience=np.array(columns["salience"], np.float32),
    )


def write() -> None:
    peaks = fingerprint(audio())
    columns = {
        "eighth_frames": peaks.eighth_frames.tolist(),
        "eighth_hz": peaks.eighth_hz.tolist(),
        "hashed": peaks.hashed.astype(int).tolist(),
        # Which targets an anchor has depends on it: what is hashed is what can be read back.
        "salience": [round(salience, 4) for salience in peaks.salience.tolist()],
    }
    document = {"fingerprint_version": FINGERPRINT_VERSION, "digests": digests(peaks_of(columns)), "peaks": columns}
    PATH.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write()
