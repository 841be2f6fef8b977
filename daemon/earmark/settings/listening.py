"""What is listened to, by whom, and how: leases, sessions, sources, matching."""

from typing import Literal, Self

from pydantic import Field, field_serializer, model_validator

from earmark.model import MatchParams
from earmark.settings.section import Positive, Section, Share


class Leases(Section):
    """Who listens to what."""

    worker: str = Field("", description="this worker's name; empty: host name and a random suffix")
    ttl_s: Positive = Field(15, description="a lease not renewed for this long may be taken over; judged by the database's clock")
    renew_s: Positive = Field(4, description="one statement renews all leases of the worker and reads stop flags; at most a third of ttl_s")
    streams_max: int = Field(300, ge=1, description="most sessions in this process; admission also looks at how busy it is")
    busy_share_max: Share = Field(0.7, description="claim nothing while the compute thread is busier than this")
    attempts_max: int = Field(
        5,
        ge=3,
        description="deaths of a stream's process before it is quarantined: two of workers at most, which prove nothing, the others of child processes that heard it alone",
    )
    restart_initial_s: Positive = Field(1, description="back-off after a session failed; doubles, with jitter")
    restart_max_s: Positive = Field(60, description="longest back-off between restarts of a session")
    drain_s: Positive = Field(100, description="after SIGTERM everything is handed over within this; ECS kills after 120 s at the latest")

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Self:
        if 3 * self.renew_s > self.ttl_s:
            raise ValueError(
                f"leases.renew_s ({self.renew_s:g}) must be at most a third of leases.ttl_s ({self.ttl_s:g}), or leases expire between two renewals"
            )
        return self


class Reconcile(Section):
    """Events may be missing, late or out of order: a sweep puts that right."""

    every_s: Positive = Field(60, description="ListStreams, ListChannels and the places of archive files are swept this often")
    adopt: bool = Field(True, description="open live IVS streams and running MediaLive channels with an archive whose start event never came")
    medialive: bool = Field(True, description="sweep MediaLive too; false where there is none, or the role may not list its channels")


class SessionSettings(Section):
    """One run of listening to one stream."""

    max_s: Positive = Field(86_400, description="a source without an end is cut into sessions at multiples of this since midnight UTC")
    end_grace_s: Positive = Field(15, description="after a stream's end was announced, what is still listed is read for this long")
    silent_origin_s: Positive = Field(
        60, description="nothing new from the origin for this long ends the session (an IVS stream is asked for by GetStream first)"
    )
    buffer_s: Positive = Field(
        300, description="taken in while the database is away, and heard when it is back: 1 kB a second of each stream; what comes after that is a gap"
    )
    late_s: Positive = Field(20, description="further behind than this: drop to the live edge and record the gap")


class Hls(Section):
    """What a playlist may make us fetch."""

    allow_hosts: tuple[str, ...] = Field(
        (".live-video.net",),
        description="host names, or suffixes that begin with a dot, that streams from events and their playlists may use; a static stream's own host is allowed for that stream",
    )
    allow_private: tuple[str, ...] = Field(
        (), description="host:port pairs at private or loopback addresses that may be reached all the same; metadata services never"
    )
    allow_http: bool = Field(False, description="plain http for allowed hosts; hosts in allow_private may always use it")
    playlist_bytes_max: int = Field(1_000_000, gt=0, description="a longer playlist is refused")
    segment_bytes_max: int = Field(32_000_000, gt=0, description="a longer segment is refused and costs that segment")
    segment_s_max: Positive = Field(60, description="a segment that claims, or decodes to, more media than this is refused or cut")
    redirects_max: int = Field(5, ge=0, description="each hop is checked like the first address")
    connect_timeout_s: Positive = Field(5, description="per attempt")
    read_timeout_s: Positive = Field(5, description="between two reads")
    deadline_s: Positive = Field(15, description="for a whole request, however it dribbles")
    audio_kbps_min: Positive = Field(64, description="without an audio-only rendition: the lowest with at least this much audio")
    languages: tuple[str, ...] = Field(
        (),
        description="of several renditions in different languages (EXT-X-MEDIA) the one that is heard, best first, e.g. pt-BR, pt; empty: the stream's default",
    )


class MediaLive(Section):
    """Archive segments in S3."""

    gap_wait_s: Positive = Field(30, description="how long a missing number is waited for before it is a gap")
    end_grace_s: Positive = Field(60, description="after IDLE: the last, short file may still arrive")
    idle_end_s: Positive = Field(600, description="no new file for this long ends a session that no channel event ends")
    file_bytes_max: int = Field(
        20_000_000_000,
        gt=0,
        description="a longer archive file is refused and costs that file; an hour at 40 Mbit/s is 18 GB, of which a part at a time is read",
    )
    pipeline: Literal["0", "1"] = Field("0", description="of a standard channel's two pipelines, the one that is heard first")
    fill_in: bool = Field(
        True, description="what that pipeline does not deliver within gap_wait_s is heard from the other's files; false: the other's are never read"
    )
    archives: dict[str, str] = Field(
        default_factory=dict,
        description="s3://bucket/prefix -> stream name, for archives whose channel cannot be described; an object under a prefix opens the session itself; the name * is the folder below the prefix",
    )


class StaticStream(Section):
    """A stream that is always wanted."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+@-]{0,95}$", description="stream_id is this and the date")
    url: str = Field(
        pattern=r"^(https?://[^/]|s3://[^/]+/.)",
        description="a live HLS playlist at any origin, or in a bucket (s3://bucket/path/index.m3u8), or a radio station: AAC or MP3 over HTTP without end",
    )
    kind: Literal["", "hls", "radio", "s3"] = Field("", description="what is at the address; empty: s3 where it begins with s3://, else hls")
    tags: dict[str, str] = Field(default_factory=dict, description="copied into every hit")

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        in_bucket = self.url.startswith("s3://")
        if self.kind == "s3" and not in_bucket:
            raise ValueError(f"the stream {self.name} is of kind s3, so its url has to begin with s3://")
        if self.kind not in ("", "s3") and in_bucket:
            raise ValueError(f"the url of the stream {self.name} begins with s3://, so its kind is s3 and not {self.kind}")
        return self

    @property
    def known_kind(self) -> Literal["hls", "radio", "s3"]:
        return self.kind or ("s3" if self.url.startswith("s3://") else "hls")

    @field_serializer("url", when_used="json")
    def _shown(self, url: str) -> str:
        """For people, as a DSN is shown: who may listen is in a URL's query, and in what stands before its host."""
        return without_secrets(url)


def without_secrets(url: str) -> str:
    """An address for people, who may know where a stream is, and not by what right it is heard."""
    address, query, _ = url.partition("?")
    scheme, _, rest = address.partition("://")
    head, slash, path = rest.partition("/")
    return f"{scheme}://{'**********@' if '@' in head else ''}{head.rpartition('@')[2]}{slash}{path}{'?**********' if query else ''}"


class Streams(Section):
    """Sources that no event announces."""

    static: tuple[StaticStream, ...] = Field((), description="addresses that are listened to all the time; `earmark streams add` puts others into the database")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        names = [stream.name for stream in self.static]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"streams.static has more than one stream called {twice}: each name is one stream's")
        return self


class Matching(Section):
    """How sure is sure."""

    window_s: Positive = Field(12, description="evidence is gathered over this much of the stream")
    false_alarms_per_hour: Positive = Field(1e-4, description="per stream-hour, for the present catalogue: the decision threshold")
    left_nats: float = Field(
        10,
        ge=0,
        description="evidence that must be left without a play's best seconds (up to 4, the fewer the more of what is heard it explains) before it is told",
    )
    confirm_s: float = Field(10, ge=0, description="a line shorter than this is a quotation, not a play")
    hold_nats: Positive = Field(12, description="evidence in the last 6 s that keeps a play open")
    close_s: Positive = Field(12, description="a play below hold_nats for this long is closed, dated back to its last evidence")
    transform_every_s: float = Field(6, ge=0, description="seconds between two tries of another speed while nothing is open; 0: never")
    transform_busy_max: float = Field(
        0.7, ge=0, le=1, description="busy share of the compute thread from which other speeds are not tried: the first to be shed"
    )
    candidates_max: int = Field(8, ge=1, le=64, description="candidates verified per second and speed")
    lines_max: int = Field(4, ge=1, le=32, description="lines followed at once per stream")

    def params(self) -> MatchParams:
        return MatchParams(**self.model_dump(exclude={"transform_busy_max"}))
