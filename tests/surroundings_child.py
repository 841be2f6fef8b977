"""`earmark surroundings` as a process of its own, with a programme that is soon made: python -m surroundings_child OPTIONS."""

import sys
from pathlib import Path

from earmark.cli import main
from earmark.local import music, on_air, sound
from earmark.local.programme import Programme, Recording


def short_programme(folder: Path) -> Programme:
    """One recording in the catalogue, and six seconds of it on air."""
    (piece,) = music.catalogue(1)
    samples = music.render(piece)
    file = folder / "one.flac"
    sound.write_flac(file, samples, piece.track)
    return Programme(samples=samples[: 6 * music.RATE_HZ], parts=(), recordings=(Recording(track=piece.track, file=file),))


if __name__ == "__main__":
    on_air.programmes.generated = short_programme
    sys.exit(main(["surroundings", *sys.argv[1:]]))
