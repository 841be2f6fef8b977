"""What radio servers say of their programme in between the sound (ICY, as Icecast and SHOUTcast do it). Pure: bytes in, bytes and words out.

There is no standard, only what servers and players have done since 1999. A client says `Icy-MetaData: 1`; a server that
answers with `icy-metaint: N` puts a block of words behind every N bytes of sound: a byte that counts sixteens, then so many
bytes, padded with zeros, mostly none. `StreamTitle='...';` in it is what is on air from there on.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

#: A title may hold apostrophes: it ends with the first one that the next word follows, or the block's end.
_TITLE = re.compile(rb"StreamTitle='(.*?)(?:'(?:;(?=\s*(?:[A-Za-z]+=|\0|\Z))|\s*(?:\0|\Z))|\Z)", re.DOTALL)
#: As many words as one title may be; a block holds 4,080 bytes.
TITLE_CHARACTERS_MAX = 300

#: Sound; and what is on air from there on ("": nothing is said).
Part: TypeAlias = bytes | str


class Deinterleaver:
    """Takes the words out of the sound; however the bytes are cut, the same come out. `metaint` 0: there are none."""

    def __init__(self, metaint: int) -> None:
        self._metaint = metaint
        #: Bytes of sound before the next block of words.
        self._sound_left = metaint
        #: Bytes of the block that are still to come, None before its length is known; and those that are here.
        self._words_left: int | None = None
        self._words = bytearray()

    def push(self, data: bytes) -> Iterator[Part]:
        """Sound, and titles where they stand in it."""
        if not self._metaint:
            if data:
                yield data
            return
        at = 0
        while at < len(data):
            if self._sound_left:
                sound = data[at : at + self._sound_left]
                at += len(sound)
                self._sound_left -= len(sound)
                yield sound
            elif self._words_left is None:
                self._words_left = 16 * data[at]
                at += 1
            else:
                words = data[at : at + self._words_left]
                at += len(words)
                self._words_left -= len(words)
                self._words += words
            if self._words_left == 0:
                if (title := title_of(bytes(self._words))) is not None:
                    yield title
                self._words.clear()
                self._words_left, self._sound_left = None, self._metaint


def title_of(words: bytes) -> str | None:
    """Of a block; None: it says nothing about that."""
    said = _TITLE.search(words)
    return decoded(said[1]) if said else None


def decoded(text: bytes) -> str:
    """UTF-8 if it is, else Latin-1, which anything is; in one line, without what cannot be seen, and bounded."""
    try:
        said = text.decode("utf-8")
    except UnicodeDecodeError:
        said = text.decode("latin-1")
    visible = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in said)
    return " ".join(visible.split())[:TITLE_CHARACTERS_MAX].rstrip()
