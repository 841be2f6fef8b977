"""What Amazon IVS records to S3: how it is laid out there, and how it is read.

    {prefix}/events/recording-started.json, recording-ended.json or recording-failed.json
    {prefix}/media/hls/master.m3u8
    {prefix}/media/hls/480p30/playlist.m3u8, 0.ts, 1.ts, ... 10.ts, ...

(IVS Low-Latency user guide, "Auto-Record to Amazon S3".) Numbers of segments are not padded, so that the order of a
listing is not theirs. Segments of some ten seconds land as they are closed; the playlists follow when they like, and say
of each segment when it was (EXT-X-PROGRAM-DATE-TIME).

A GET costs a twelfth of a LIST, so the next segment is asked for by its name; listed is what names there are, once, and
again where one is missing.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias

from botocore.exceptions import ClientError

from earmark.audio.playlist import Listed, Master, MediaPlaylist, Rendition, parse
from earmark.audio.renditions import choose
from earmark.aws import asking, code
from earmark.errors import AwsUnavailable, SourceUnsupported

Request: TypeAlias = Literal["get", "list"]

#: S3's longest page.
PAGE_MAX = 1_000
#: A stream of two days in segments of two seconds, in one folder: more is not looked at.
PAGES_MAX = 100
#: Of the documents beside the media.
DOCUMENT_BYTES_MAX = 4_000_000
_SEGMENT = re.compile(r"(?P<stem>[^/]*?)(?P<number>[0-9]{1,9})(?P<ending>\.(?:ts|m4s|mp4|aac))")
_HEADER = re.compile(r"[^/]*init[^/]*\.(?:mp4|m4s)")
_FOLDER = re.compile(r"(?:(?P<height>[0-9]{2,4})p[0-9]{0,3}|(?P<sound>audio.*))", re.IGNORECASE)
#: Where a playlist's addresses are joined: a key is what follows.
_HERE = "https://recording.invalid/"


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def get_object(self, **arguments: Any) -> Any: ...
    def list_objects_v2(self, **arguments: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An object's bytes."""

    data: bytes
    landed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """How the segments of one folder are called."""

    folder: str
    stem: str
    ending: str
    #: Digits, where numbers are padded; 0: they are not.
    width: int
    #: The name of what must precede each segment (fMP4); empty: nothing must.
    header: str = ""

    def key(self, number: int) -> str:
        return f"{self.folder}{self.stem}{number:0{self.width}d}{self.ending}"

    @classmethod
    def of(cls, folder: str, keys: Iterable[str]) -> "Naming | None":
        """From some keys of the folder; None if there is no segment among them."""
        names = [key.removeprefix(folder) for key in keys]
        found = [match for name in names if not _HEADER.fullmatch(name) and (match := _SEGMENT.fullmatch(name))]
        if not found:
            return None
        first = found[0]
        padded = [len(match["number"]) for match in found if match["number"].startswith("0") and len(match["number"]) > 1]
        header = next((name for name in sorted(names) if _HEADER.fullmatch(name)), "")
        return cls(folder=folder, stem=first["stem"], ending=first["ending"], width=padded[0] if padded else 0, header=header)

    def number(self, key: str) -> int | None:
        match = _SEGMENT.fullmatch(key.removeprefix(self.folder))
        return int(match["number"]) if match and (match["stem"], match["ending"]) == (self.stem, self.ending) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What the documents under `events/` say."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: Nothing will be added.
    over: bool = False
    duration_s: float | None = None
    channel_arn: str = ""
    #: Folders of renditions, with their height in lines; 0: not said.
    renditions: Mapping[str, int] | None = None


class Recording:
    """One recording in S3. Its calls raise AwsUnavailable, AwsRefused, or SourceUnsupported for what is too large.

    `asked` counts requests.
    """

    def __init__(self, *, s3: S3, place: str, bytes_max: int, asked: Callable[[Request], None] = lambda _: None) -> None:
        """`place`: s3://bucket/prefix."""
        self._s3 = s3
        self._asked = asked
        self._bytes_max = bytes_max
        self.place = place.rstrip("/")
        self.bucket, _, self.prefix = self.place.removeprefix("s3://").partition("/")
        self.media = f"{self.prefix}/media/hls/"

    def another(self, place: str) -> "Recording":
        """Another one, read with the same rights and counted with this one."""
        return Recording(s3=self._s3, place=place, bytes_max=self._bytes_max, asked=self._asked)

    # -------------------------------------------------------------------------------------------- what there is

    def about(self) -> About:
        """The document of its end, or of its start; or nothing yet."""
        for name in ("ended", "failed", "started"):
            stored = self.get(f"{self.prefix}/events/recording-{name}.json", bytes_max=DOCUMENT_BYTES_MAX)
            if stored is not None:
                return about(stored.data, over=name != "started")
        return About()

    def is_over(self) -> bool:
        return any(self.get(f"{self.prefix}/events/recording-{name}.json", bytes_max=DOCUMENT_BYTES_MAX) for name in ("ended", "failed"))

    def rendition(self, said: About, *, audio_kbps_min: float) -> str | None:
        """The folder to be heard: what its documents say, or else which folders have appeared; None: none has."""
        heights = dict(said.renditions or {})
        if not heights:
            folders, _ = self.listed(self.media, delimiter="/")
            heights = {folder: height for folder in folders if (height := _height(folder)) is not None}
        return chosen(heights, audio_kbps_min=audio_kbps_min)

    def naming(self, rendition: str) -> Naming | None:
        folder = f"{self.media}{rendition}/"
        _, keys = self.listed(folder, pages_max=1)
        return Naming.of(folder, keys)

    def numbers(self, naming: Naming, *, after: int = -1) -> list[int]:
        """Of the segments that are there, behind one, in order."""
        # Names without padding are listed in an order of their own: then all of them have to be.
        start = naming.key(after) if naming.width and after >= 0 else ""
        _, keys = self.listed(naming.folder, start_after=start)
        return sorted(number for key in keys if (number := naming.number(key)) is not None and number > after)

    def playlist(self, rendition: str) -> MediaPlaylist | None:
        """The rendition's; None as long as there is none that can be read: it may come late, or half."""
        key = f"{self.media}{rendition}/playlist.m3u8"
        stored = self.get(key, bytes_max=DOCUMENT_BYTES_MAX)
        if stored is None:
            return None
        with suppress(SourceUnsupported):
            found = parse(stored.data.decode("utf-8", errors="replace"), _HERE + key)
            return None if isinstance(found, Master) else found
        return None

    def listed(self, prefix: str, *, delimiter: str = "", start_after: str = "", pages_max: int = PAGES_MAX) -> tuple[list[str], list[str]]:
        """Names of folders right below the prefix (with a delimiter), and whole keys."""
        folders, keys, arguments = list[str](), list[str](), {"Delimiter": delimiter} if delimiter else {}
        if start_after:
            arguments["StartAfter"] = start_after
        for _ in range(pages_max):
            self._asked("list")
            with asking("s3:ListBucket", f"s3://{self.bucket}/{prefix}"):
                page = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=PAGE_MAX, **arguments)
            folders += [entry["Prefix"].removeprefix(prefix).rstrip("/") for entry in page.get("CommonPrefixes", ())]
            keys += [entry["Key"] for entry in page.get("Contents", ())]
            if not page.get("NextContinuationToken"):
                break
            arguments["ContinuationToken"] = page["NextContinuationToken"]
        return folders, keys

    def get(self, key: str, *, bytes_max: int = 0) -> Stored | None:
        """None: there is no such object (yet). Without s3:ListBucket S3 does not say that, and refuses."""
        most, what = bytes_max or self._bytes_max, f"s3://{self.bucket}/{key}"
        self._asked("get")
        with asking("s3:GetObject", what):
            try:
                answer = self._s3.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            with answer["Body"] as body:
                data: bytes = body.read(most + 1) if answer["ContentLength"] <= most else b""
        if answer["ContentLength"] > most or len(data) > most:
            raise SourceUnsupported(f"{what} has {answer['ContentLength']:,} bytes, and at most {most:,} are read (hls.segment_bytes_max)")
        if len(data) < answer["ContentLength"]:  # botocore does not mind
            raise AwsUnavailable(f"s3:GetObject of {what} broke off after {len(data)} of {answer['ContentLength']} bytes")
        return Stored(data=data, landed_at=answer["LastModified"])


# ------------------------------------------------------------------------------------------------ what it says, pure


def about(document: bytes, *, over: bool) -> About:
    """What can be understood of it."""
    try:
        said = json.loads(document)
        media = said.get("media", {}).get("hls", {}) if isinstance(said, dict) else {}
    except (ValueError, RecursionError, AttributeError):
        return About(over=over)
    if not isinstance(said, dict) or not isinstance(media, dict):
        return About(over=over)
    listed = media.get("renditions")
    renditions = {entry["path"]: _lines(entry) for entry in listed if _is_rendition(entry)} if isinstance(listed, list) else {}
    duration_ms = media.get("duration_ms")
    return About(
        started_at=_moment(said.get("recording_started_at")),
        ended_at=_moment(said.get("recording_ended_at")),
        over=over,
        duration_s=duration_ms / 1000 if isinstance(duration_ms, int) and duration_ms >= 0 else None,
        channel_arn=channel_arn if isinstance(channel_arn := said.get("channel_arn"), str) else "",
        renditions=renditions,
    )


def chosen(heights: Mapping[str, int], *, audio_kbps_min: float) -> str | None:
    """Sound alone, else the smallest picture whose sound is good enough, as for playback; None of none."""
    if not heights:
        return None
    ladder = tuple(
        Rendition(url=name, height=height, width=height and height * 16 // 9, audio_only=bool((folder := _FOLDER.fullmatch(name)) and folder["sound"]))
        for name, height in heights.items()
    )
    return choose(Master(variants=ladder, audio=()), audio_kbps_min=audio_kbps_min).url


def described(rendition: str) -> str:
    """A folder's name as `playlist.Rendition` says what it is, by which its cost is known."""
    height = _height(rendition)
    return f"{f'{height * 16 // 9}x{height}' if height else 'audio only' if height == 0 else 'unnamed'}, recorded as {rendition}"


def key_of(segment: Listed, folder: str) -> str | None:
    """Where a listed segment lies; None if not in the folder: a playlist may name anything."""
    key = segment.url.removeprefix(_HERE)
    inside = segment.url.startswith(_HERE + folder) and "/" not in key.removeprefix(folder) and "?" not in key and "%" not in key
    return key if inside else None


def clocks(playlist: MediaPlaylist | None, naming: Naming) -> dict[int, datetime]:
    """Wall clocks of the segments that a playlist lists, by their number."""
    listed: Iterator[Listed] = iter(playlist.segments) if playlist else iter(())
    found = ((naming.number(key), segment.clock) for segment in listed if (key := key_of(segment, naming.folder)))
    return {number: clock for number, clock in found if number is not None and clock is not None}


def _height(folder: str) -> int | None:
    """In lines; 0: no picture; None: no rendition."""
    match = _FOLDER.fullmatch(folder)
    return None if match is None else int(match["height"] or 0)


def _is_rendition(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("path"), str) and bool(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", entry["path"]))


def _lines(entry: Mapping[str, Any]) -> int:
    said = entry.get("resolution_height")
    return said if type(said) is int and 0 <= said <= 10_000 else _height(entry["path"]) or 0


def _moment(text: object) -> datetime | None:
    with suppress(ValueError, TypeError):
        at = datetime.fromisoformat(text)  # type: ignore[arg-type]
        if 2000 <= at.year < 2200:
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None
