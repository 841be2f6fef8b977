"""HLS playlists (RFC 8216, and of its second edition what concerns segments) as values. Pure: text in, values out.

Multivariant playlists are read by `m3u8`. Media playlists are read here, every stream's every two seconds: one pass over
the tags that are used takes a twelfth of the time (0.4 ms for 450 segments instead of 4.5), and may be sceptical. A
playlist is somebody else's text: numbers that are not numbers are taken as absent, unknown tags are skipped, partial
segments of low-latency HLS too; what is no playlist at all raises SourceUnsupported.
"""

import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urljoin

import m3u8

from earmark.errors import SourceUnsupported

#: The declared target duration only paces the polling; what is declared beyond this is not believed.
TARGET_S_MIN, TARGET_S_MAX = 0.5, 30.0
TARGET_S_DEFAULT = 6.0
#: No segment is believed to last longer: such are refused anyway (hls.segment_s_max), and their sums still have to be reckoned with.
DURATION_S_MAX = 86_400.0
#: No delta update (EXT-X-SKIP) leaves out more: longer lists are not written.
SKIPPED_MAX = 1_000_000
#: Years of wall clocks that are believed: beyond them lie dates that no time can be added to, and encoders whose clock was never set.
YEARS = range(2000, 2200)


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRange:
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """How the following segments are encrypted."""

    method: str
    url: str
    #: 16 bytes; None: the segment's media sequence number.
    iv: bytes | None
    #: "identity" (the key itself is at `url`), or the name of a DRM system.
    format: str = "identity"


@dataclass(frozen=True, kw_only=True, slots=True)
class Map:
    """Where the bytes are that must precede each fMP4 segment."""

    url: str
    range: ByteRange | None
    key: Key | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One media segment, as the playlist describes it."""

    sequence: int
    url: str
    duration_s: float
    #: Wall clock of its first sample: as stamped, or reckoned from the nearest stamp without a discontinuity between.
    clock: datetime | None
    #: Media after a break: time stamps, codec and clock may differ from what came before.
    discontinuity: bool
    #: How many breaks came before, since the stream began.
    discontinuity_sequence: int
    #: Listed, but known to be missing (EXT-X-GAP).
    gap: bool = False
    range: ByteRange | None = None
    key: Key | None = None
    map: Map | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaPlaylist:
    target_s: float
    segments: tuple[Listed, ...]
    #: No segment will be added.
    ended: bool
    #: What is listed, those that were left out included: first_sequence up to, and without, end_sequence.
    first_sequence: int
    end_sequence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """One way to hear a stream: a variant, or an alternative audio rendition (EXT-X-MEDIA)."""

    url: str
    #: Bits per second, 0 when not said.
    bandwidth: int = 0
    codecs: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    #: EXT-X-MEDIA: its name and language (RFC 5646), and whether the packager prefers it, or lets it be chosen by language.
    name: str = ""
    language: str = ""
    default: bool = False
    autoselect: bool = False
    #: EXT-X-MEDIA: it says what is to be seen, for people who cannot see it.
    described: bool = False
    #: Of a variant the group whose renditions are its sound; of EXT-X-MEDIA its own.
    group: str = ""
    #: Why it was chosen, where there was a choice to be explained.
    why: str = ""
    #: EXT-X-MEDIA, or a variant without video.
    audio_only: bool = False

    def __str__(self) -> str:
        what = f"{self.width}x{self.height}" if self.height else "audio only" if self.audio_only else "unnamed"
        language = f"[{self.language}]" if self.language else ""
        details = [f"{self.bandwidth / 1000:.0f} kbit/s" if self.bandwidth else "", ",".join(self.codecs), " ".join(filter(None, [self.name, language]))]
        return ", ".join(filter(None, [what, *details]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Master:
    """A multivariant playlist."""

    variants: tuple[Rendition, ...]
    #: Those without an address of their own are inside the variants of their group.
    audio: tuple[Rendition, ...]


def parse(text: str, url: str, *, from_sequence: int = 0) -> Master | MediaPlaylist:
    """The playlist found at `url`; the addresses in it are made absolute, and are still to be checked.

    Segments before `from_sequence` are counted and left out: some playlists list hours, and are read every few seconds.
    Raises SourceUnsupported (without naming the host: the caller does) when it is not an HLS playlist.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or not lines[0].startswith("#EXTM3U"):
        begins = text.strip()[:20]
        raise SourceUnsupported(f"is not an HLS playlist: it begins with {begins!r}, not #EXTM3U" if begins else "is not an HLS playlist: it is empty")
    if "#EXT-X-STREAM-INF:" in text and any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        return _master(text, url)
    return _media(lines, url, whole=text.endswith(("\n", "\r")), from_sequence=from_sequence)


# ---------------------------------------------------------------------------------------------- multivariant playlist

_VIDEO_CODECS = ("avc", "hvc", "hev", "av01", "vp0", "vp8", "vp9", "dvh", "mp4v", "mjpg", "s263")


#: What no packager writes: to take such lists and lines apart costs a hundred times their bytes.
TAGS_MAX, TAG_CHARACTERS_MAX = 1_000, 20_000


def _master(text: str, url: str) -> Master:
    tags = [line for line in text.splitlines() if line.startswith("#EXT")]
    if len(tags) > TAGS_MAX:
        raise SourceUnsupported(f"is a multivariant playlist of {len(tags):,} tags, and more than {TAGS_MAX:,} are not read")
    longest = max(map(len, tags), default=0)
    if longest > TAG_CHARACTERS_MAX:
        raise SourceUnsupported(f"is a multivariant playlist with a tag of {longest:,} characters, and more than {TAG_CHARACTERS_MAX:,} are not read")
    try:
        said = m3u8.loads(text)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:  # what the library raises on damaged attributes
        raise SourceUnsupported(f"is a damaged multivariant playlist: {str(error)[:100]}") from None
    audio = (
        Rendition(
            url=absolute(url, media.uri) if media.uri else "",
            name=media.name or "",
            language=media.language or "",
            default=media.default == "YES",
            autoselect=media.autoselect == "YES",
            described="describes-video" in (media.characteristics or ""),
            group=media.group_id or "",
            audio_only=True,
        )
        for media in said.media
        if media.type == "AUDIO"
    )
    return Master(variants=tuple(_variant(absolute(url, variant.uri), variant.stream_info) for variant in said.playlists if variant.uri), audio=tuple(audio))


def _variant(url: str, said: m3u8.model.StreamInfo) -> Rendition:
    width, height = said.resolution or (0, 0)
    codecs = tuple(filter(None, (codec.strip() for codec in (said.codecs or "").split(","))))
    video = any(codec.lower().startswith(_VIDEO_CODECS) for codec in codecs)
    return Rendition(
        url=url,
        bandwidth=said.bandwidth or 0,
        codecs=codecs,
        width=width,
        height=height,
        group=said.audio or "",
        audio_only=bool(codecs) and not video and said.resolution is None,
    )


# ---------------------------------------------------------------------------------------------- media playlist


@dataclass(slots=True)
class _Reading:
    """What the tags so far say about the next segment."""

    url: str
    from_sequence: int
    #: What a name of a file beside the playlist is behind.
    folder: str
    sequence: int = 0
    discontinuities: int = 0
    key: Key | None = None
    map: Map | None = None
    duration_s: float = 0.0
    #: As stamped on this segment; and as reckoned from the last stamp.
    stamp: datetime | None = None
    clock: datetime | None = None
    discontinuity: bool = False
    gap: bool = False
    range: str = ""
    #: Where the last byte range of each resource ended: the next one may begin there without saying so.
    range_ends: dict[str, int] = field(default_factory=dict)
    segments: list[Listed] = field(default_factory=list)

    def segment(self, address: str) -> None:
        """A segment lies at this address; what was said about it alone is forgotten."""
        self.clock = self.stamp or (None if self.discontinuity else self.clock)
        if self.sequence >= self.from_sequence or self.range:
            # Most lists name files beside themselves, or whole addresses: to join those is most of the work of reading a list.
            whole = self.folder + address if _NAME.fullmatch(address) else address if _WHOLE.fullmatch(address) else absolute(self.url, address)
            byte_range = self.byte_range(self.range, whole)
            if self.sequence >= self.from_sequence:
                self._keep(whole, byte_range)
        self.clock = _plus(self.clock, self.duration_s)
        self.sequence += 1
        self.duration_s, self.stamp, self.discontinuity, self.gap, self.range = 0.0, None, False, False, ""

    def _keep(self, url: str, byte_range: ByteRange | None) -> None:
        self.segments.append(
            Listed(
                sequence=self.sequence,
                url=url,
                duration_s=self.duration_s,
                clock=self.clock,
                discontinuity=self.discontinuity,
                discontinuity_sequence=self.discontinuities,
                gap=self.gap,
                range=byte_range,
                key=self.key,
                map=self.map,
            )
        )

    def byte_range(self, text: str, url: str) -> ByteRange | None:
        """``length@offset``, or ``length`` where it goes on from the last one."""
        length, _, offset = text.partition("@")
        size = _integer(length)
        if size is None:
            return None
        begin = (_integer(offset) if offset else self.range_ends.get(url)) or 0
        self.range_ends[url] = begin + size
        return ByteRange(offset=begin, length=size)


def _media(lines: list[str], url: str, *, whole: bool, from_sequence: int) -> MediaPlaylist:
    reading = _Reading(url, from_sequence, absolute(url, "x")[:-1])
    target_s, ended, first = TARGET_S_DEFAULT, False, 0
    for line in lines:
        if line.startswith("#EXTINF:"):
            reading.duration_s = min(_number(line[8:].partition(",")[0]) or 0.0, DURATION_S_MAX)
        elif not line.startswith("#"):
            if line.strip():
                reading.segment(line.strip())
        elif line.startswith("#EXT-X-TARGETDURATION:"):
            target_s = min(max(_number(line.partition(":")[2]) or TARGET_S_DEFAULT, TARGET_S_MIN), TARGET_S_MAX)
        elif line.startswith("#EXT-X-MEDIA-SEQUENCE:"):
            reading.sequence = first = _integer(line.partition(":")[2]) or 0
        elif line.startswith("#EXT-X-ENDLIST"):
            ended = True
        else:
            _about_next(reading, line)
    segments, end = reading.segments, reading.sequence
    if not whole and not ended and end > first and not lines[-1].startswith("#"):
        # The text breaks off inside an address, or may: the next reading will have it whole.
        end -= 1
        del segments[end - (segments[0].sequence if segments else end) :]
    return MediaPlaylist(target_s=target_s, segments=tuple(_clocked(segments)), ended=ended, first_sequence=first, end_sequence=end)


def _about_next(reading: _Reading, line: str) -> None:
    tag, _, value = line.partition(":")
    match tag:
        case "#EXT-X-DISCONTINUITY-SEQUENCE":
            reading.discontinuities = _integer(value) or 0
        case "#EXT-X-PROGRAM-DATE-TIME":
            reading.stamp = _datetime(value)
        case "#EXT-X-DISCONTINUITY":
            reading.discontinuity = True
            reading.discontinuities += 1
        case "#EXT-X-GAP":
            reading.gap = True
        case "#EXT-X-BYTERANGE":
            reading.range = value
        case "#EXT-X-SKIP":
            # Of a playlist that tells only what is new; nobody asked for one, but a cache may have it.
            reading.sequence += min(_integer(attributes(line).get("SKIPPED-SEGMENTS")) or 0, SKIPPED_MAX)
            reading.clock = None
        case "#EXT-X-KEY":
            key = _key(attributes(line), reading.url)
            # One segment may name a key for each DRM system: the one without DRM is the one we can use.
            if not (key and reading.key and key.format != "identity" and reading.key.format == "identity"):
                reading.key = key
        case "#EXT-X-MAP":
            said = attributes(line)
            if "URI" in said:
                url = absolute(reading.url, said["URI"])
                reading.map = Map(url=url, range=reading.byte_range(said.get("BYTERANGE", ""), url), key=reading.key)


def _key(said: dict[str, str], url: str) -> Key | None:
    method = said.get("METHOD", "NONE")
    if method == "NONE":
        return None
    digits = said.get("IV", "")
    iv = bytes.fromhex(digits[2:].zfill(32)) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,32}", digits) else None
    return Key(method=method, url=absolute(url, said.get("URI", "")), iv=iv, format=said.get("KEYFORMAT", "identity"))


def _clocked(segments: list[Listed]) -> list[Listed]:
    """Wall clocks for the segments before the first stamp too, reckoned back from it."""
    for index in range(len(segments) - 2, -1, -1):
        here, after = segments[index], segments[index + 1]
        if here.clock is None and not after.discontinuity and after.clock is not None:
            segments[index] = replace(here, clock=_plus(after.clock, -here.duration_s))
    return segments


def _plus(clock: datetime | None, seconds: float) -> datetime | None:
    try:
        return None if clock is None else clock + timedelta(seconds=seconds)
    except OverflowError:
        return None


# ---------------------------------------------------------------------------------------------- values


def absolute(base: str, address: str) -> str:
    """An address in a playlist, or of a redirect, made absolute. One that is no address stays as it is, and is refused later."""
    try:
        if base.startswith("s3://") and not _SCHEME.match(address):  # of which urllib does not know that it has paths
            return "s3" + urljoin("http" + base[2:], address)[4:]
        return urljoin(base, address)
    except ValueError:
        return address


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: Addresses that are made absolute by what is before them, and that are so already: in which nothing is to be resolved or left out.
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(?:\?[A-Za-z0-9_.~&=%+,/-]+)?")
_WHOLE = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]+)?/[A-Za-z0-9_.~=%+,/-]*(?:\?[A-Za-z0-9_.~&=%+,/-]+)?")


# A name begins where nothing of a name is before: otherwise a line of digits takes time by the square of its length.
_ATTRIBUTE = re.compile(r'(?<![A-Z0-9-])([A-Z0-9-]+)=("[^"]*"|[^,]*)')


def attributes(line: str) -> dict[str, str]:
    """The attribute list behind a tag; quotes are taken off."""
    return {name: value.strip().strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _number(text: str) -> float | None:
    """A finite number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _integer(text: str | None) -> int | None:
    """Twenty digits: RFC 8216 has decimal integers of 64 bits."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,20}", text.strip()) else None


def _datetime(text: str) -> datetime | None:
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if value.year not in YEARS:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
