"""A change of the fingerprint is never an accident.

A catalogue holds peaks and hashes made by an earlier day's code. If a test here fails, either the change is a mistake,
or `FINGERPRINT_VERSION` in `earmark.model` has to be raised and the golden file written anew (`fingerprint_golden`).
"""

from earmark.fingerprint.window import fingerprint
from earmark.model import FINGERPRINT_VERSION, Peaks
from fingerprint_golden import audio, digests, golden, peaks_of

#: The last bit of a transform or a logarithm differs between processors: a peak in thousands may change its eighth.
SAME_MIN = 0.99


def rows(peaks: Peaks) -> set[tuple[int, int, bool]]:
    return set(zip(peaks.eighth_frames.tolist(), peaks.eighth_hz.tolist(), peaks.hashed.tolist(), strict=True))


def test_the_golden_file_is_of_this_version() -> None:
    assert golden()["fingerprint_version"] == FINGERPRINT_VERSION


def test_peaks_are_still_the_same() -> None:
    now, then = rows(fingerprint(audio())), rows(peaks_of(golden()["peaks"]))
    assert len(then) > 400
    assert len(now & then) >= SAME_MIN * max(len(now), len(then))


def test_hashes_of_the_same_peaks_are_still_the_same() -> None:
    assert digests(peaks_of(golden()["peaks"])) == golden()["digests"]
