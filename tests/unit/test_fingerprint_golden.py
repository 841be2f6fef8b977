"""A change of the fingerprint is never an accident.

A catalogue holds peaks and hashes made by an earlier day's code. If a test here fails, either the change is a mistake,
or `FINGERPRINT_VERSION` in `earmark.model` has to be raised and the golden file written anew (`fingerprint_golden`).
"""

from collections import Counter

from earmark.fingerprint.landmarks import landmarks
from earmark.fingerprint.window import fingerprint
from earmark.model import FINGERPRINT_VERSION, Peaks
from fingerprint_golden import audio, digests, golden, peaks_of

#: The last bit of a transform or a logarithm differs between processors: a peak in thousands may change its eighth.
SAME_MIN = 0.99
#: Of the landmarks, each of which is of two or three peaks.
SAME_LANDMARKS_MIN = 0.97
#: Nepers by which a peak may stand out more or less, for the same reason and because they were rounded.
SAME_SALIENCE = 0.001


def rows(peaks: Peaks) -> dict[tuple[int, int, bool], float]:
    columns = peaks.eighth_frames.tolist(), peaks.eighth_hz.tolist(), peaks.hashed.tolist()
    return dict(zip(zip(*columns, strict=True), peaks.salience.tolist(), strict=True))


def test_the_golden_file_is_of_this_version() -> None:
    assert golden()["fingerprint_version"] == FINGERPRINT_VERSION


def test_peaks_are_still_the_same() -> None:
    now, then = rows(fingerprint(audio())), rows(peaks_of(golden()["peaks"]))
    assert len(then) > 400
    assert len(now.keys() & then.keys()) >= SAME_MIN * max(len(now), len(then))


def test_peaks_still_stand_out_as_far() -> None:
    now, then = rows(fingerprint(audio())), rows(peaks_of(golden()["peaks"]))
    same = sum(peak in now and abs(now[peak] - salience) < SAME_SALIENCE for peak, salience in then.items())
    assert len(set(then.values())) > 400
    assert same >= SAME_MIN * len(then)


def test_the_same_sound_still_gives_the_same_landmarks() -> None:
    now, then = (landmarks(peaks) for peaks in (fingerprint(audio()), peaks_of(golden()["peaks"])))
    common = (Counter(now.hash.tolist()) & Counter(then.hash.tolist())).total()
    assert common >= SAME_LANDMARKS_MIN * max(len(now), len(then))


def test_hashes_of_the_same_peaks_are_still_the_same() -> None:
    assert digests(peaks_of(golden()["peaks"])) == golden()["digests"]
