"""`earmark fingerprint`: what is heard of a file, without a catalogue, and without its sound."""

from pathlib import Path

from earmark import clip
from earmark.clip import Clip
from earmark.errors import BadSettings
from earmark.hits.text import clock_time, shown
from earmark.local.desk import check_there
from earmark.model import FINGERPRINT_VERSION
from earmark.reference import fingerprint_file


def fingerprint(path: Path, *, as_json: bool) -> int:
    """Raises BadSettings for what is no file, UnreadableAudio for one without sound."""
    check_there(path)
    if path.is_dir():
        raise BadSettings(f"{path} is a folder, and `earmark fingerprint` takes one file")
    heard = fingerprint_file(path, least=False)
    if as_json:
        print(clip.to_json(Clip(peaks=heard.peaks, duration_s=heard.duration_s)))
    else:
        about = f"{clock_time(heard.duration_s)}, {len(heard.peaks):,} peaks, {int(heard.peaks.hashed.sum()):,} of them hashed"
        print(shown(f"{path}: {about}; fingerprint version {FINGERPRINT_VERSION}"))
    return 0
