"""What the lists of a RIFF file (WAV, AVI) claim to hold, found out before anybody believes it.

FFmpeg makes room for a text as long as its chunk says, up to four gigabytes, and clears it, before it has read a byte. Where a list says
that it is longer than it is, whatever follows is taken for such chunks. ("Multimedia Programming Interface and Data Specifications 1.0".)
"""

from earmark.audio.boxes import Readable
from earmark.errors import UnreadableAudio

_KINDS = (b"RIFF", b"RF64", b"BW64")
#: Lists of texts about a file; it has one.
LISTS_MAX = 100


def check_file(data: Readable) -> None:
    """Raises UnreadableAudio. What is no RIFF file passes."""
    if data[:4] not in _KINDS:
        return
    at = -1
    for _ in range(LISTS_MAX):
        at = data.find(b"INFO", at + 1)
        if at < 0:
            return
        if data[at - 8 : at - 4] == b"LIST":
            _check_texts(data, at + 4, at + int.from_bytes(data[at - 4 : at], "little"))


def _check_texts(data: Readable, begin: int, end: int) -> None:
    """Each chunk between these places must end before the list does, and the list before the file."""
    if end > len(data):
        raise UnreadableAudio("its list of texts claims to be longer than the file")
    while begin + 8 <= end:
        size = int.from_bytes(data[begin + 4 : begin + 8], "little")
        if begin + 8 + size > end:
            raise UnreadableAudio(f"a text of it claims {size:,} bytes, which is more than the list that it is in")
        begin += 8 + size + size % 2
