"""The bytes of one HLS segment: fetched, cut out, decrypted, with what must precede them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from earmark.audio.containers import behind_tags
from earmark.audio.fetch import Reply
from earmark.audio.playlist import ByteRange, Key, Listed, Map
from earmark.errors import SourceUnavailable, SourceUnsupported, UnreadableAudio
from earmark.model import Container
from earmark.settings import Hls
from earmark.web.addresses import host_of

#: An AES-128 key is 16 bytes; what is read of an answer that is none.
KEY_BYTES, KEY_REPLY_BYTES_MAX = 16, 1_024
#: Keys and headers in use: they change rarely, and a hostile playlist may name a new one for each segment.
CACHED = 4

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    container: Container
    data: bytes
    init: bytes


class Segments:
    """`get(url, bytes_max, headers)` fetches, with the stream's own permissions."""

    def __init__(self, *, get: Callable[[str, int, Mapping[str, str]], Reply], settings: Hls) -> None:
        self._get = get
        self._settings = settings
        self._keys: dict[str, bytes] = {}
        self._maps: dict[Map, bytes] = {}

    def fetch(self, segment: Listed) -> Bytes:
        """Raises SourceUnavailable (it may come yet), SourceUnsupported (it is refused), UnreadableAudio (the key does not open it)."""
        claimed_s = self._settings.segment_s_max
        if segment.duration_s > claimed_s:
            raise SourceUnsupported(f"a segment claims {segment.duration_s:g} s, more than hls.segment_s_max ({claimed_s:g} s)")
        init = self._map(segment.map) if segment.map else b""
        data = self._bytes(segment.url, segment.range)
        if segment.key:
            data = self._decrypted(data, segment.key, segment.key.iv or segment.sequence.to_bytes(16))
        return Bytes(container=container_of(data, fragmented=segment.map is not None), data=data, init=init)

    def _map(self, header: Map) -> bytes:
        if header not in self._maps:
            data = self._bytes(header.url, header.range)
            if header.key:
                if header.key.iv is None:
                    raise SourceUnsupported("the stream's fMP4 header is encrypted without an IV, against RFC 8216, section 4.3.2.5")
                data = self._decrypted(data, header.key, header.key.iv)
            _remember(self._maps, header, data)
        return self._maps[header]

    def _bytes(self, url: str, part: ByteRange | None) -> bytes:
        bytes_max = self._settings.segment_bytes_max
        if part is None:
            return _body(self._get(url, bytes_max, {}), url)
        end = part.offset + part.length
        if part.length > bytes_max or not part.length:
            raise SourceUnsupported(f"a segment claims {part.length:,} bytes where at most hls.segment_bytes_max ({bytes_max:,}) are read")
        reply = self._get(url, bytes_max, {"Range": f"bytes={part.offset}-{end - 1}"})
        body = _body(reply, url)
        if reply.status == 200:  # the server does not know ranges, and sends all of it
            body = body[part.offset : end]
        if len(body) != part.length:
            raise SourceUnavailable(f"{host_of(url)} answered with {len(body):,} bytes of a range of {part.length:,}")
        return body

    def _decrypted(self, data: bytes, key: Key, iv: bytes) -> bytes:
        if key.method != "AES-128" or key.format != "identity":
            raise SourceUnsupported(f"the stream is encrypted with {key.method} ({key.format}); only AES-128 without DRM is heard")
        if key.url not in self._keys:
            found = _body(self._get(key.url, KEY_REPLY_BYTES_MAX, {}), key.url)
            if len(found) != KEY_BYTES:
                raise UnreadableAudio(f"the key at {host_of(key.url)} has {len(found)} bytes, not {KEY_BYTES}: its segments cannot be decrypted")
            _remember(self._keys, key.url, found)
        # Six megabytes that most daemons never need.
        from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.algorithms import AES  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.modes import CBC  # noqa: PLC0415
        from cryptography.hazmat.primitives.padding import PKCS7  # noqa: PLC0415

        try:
            decryptor = Cipher(AES(self._keys[key.url]), CBC(iv)).decryptor()
            unpadder = PKCS7(128).unpadder()
            return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
        except ValueError:
            raise UnreadableAudio(f"a segment cannot be decrypted with the key at {host_of(key.url)}: the wrong key, or not encrypted at all") from None


def _remember(cache: dict[K, V], key: K, value: V) -> None:
    while len(cache) >= CACHED:
        del cache[next(iter(cache))]
    cache[key] = value


def _body(reply: Reply, url: str) -> bytes:
    if reply.status not in (200, 206):
        raise SourceUnavailable(f"{host_of(url)} answered {reply.status} for a segment of the stream")
    return reply.body


def container_of(data: bytes, *, fragmented: bool) -> Container:
    """What the bytes look like; the decoder is told, and finds out if it is not so. TS when they look like nothing."""
    if fragmented or data[4:8] in (b"ftyp", b"styp", b"moof", b"sidx", b"emsg", b"prft"):
        return "mp4"
    at = behind_tags(data)
    frames = data[at : at + 2]
    # A frame begins with eleven set bits; ADTS then has layer 0, MPEG audio has layer 1 to 3.
    if len(frames) > 1 and frames[0] == 0xFF and frames[1] & 0xE0 == 0xE0:
        return "aac" if frames[1] & 0x06 == 0 else "mp3"
    return "mpegts"
