"""What the API takes and says, as OpenAPI has it. What the daemon has a form for already is told in that form."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from earmark.alias import HeardAs
from earmark.api.uploads import State, is_recording
from earmark.hits.text import is_storable
from earmark.metadata import checked
from earmark.model import Track

#: What browsers and tools call audio, and video with sound; what is in it, the decoder finds out.
_CONTENT_TYPE: Final = r"^(audio/[A-Za-z0-9][A-Za-z0-9.+-]{0,60}|video/[A-Za-z0-9][A-Za-z0-9.+-]{0,60}|application/ogg|application/octet-stream)$"
_FILE_NAME_CHARS_MAX: Final = 255


class Taken(BaseModel):
    """What somebody sends: what is not known is an error, so that a misspelt field is none in silence."""

    model_config = ConfigDict(extra="forbid")


class Described(Taken):
    """What an owner says about a recording; what is not said is taken from the file's tags."""

    track_id: str | None = Field(
        None, description="how the recording is called in hits; by default its ISRC, or a hash of the file", examples=["isrc:GBAYE0601498"]
    )
    title: str | None = None
    artists: list[str] = Field(default_factory=list)
    album: str | None = None
    label: str | None = None
    isrc: list[str] = Field(default_factory=list, description="ISO 3901", examples=[["GBAYE0601498"]])
    iswc: list[str] = Field(default_factory=list, description="ISO 15707, with its check digit", examples=[["T-034.524.680-1"]])
    upc: list[str] = Field(default_factory=list, description="UPC, EAN or GTIN-14, with its check digit")
    rights_holder: str | None = None
    policy: str | None = Field(None, description="what is to be done about it: track, allow, warn or block")
    territories: list[str] = Field(default_factory=list, description="ISO 3166-1 alpha-2 codes; WW for everywhere, -US for what is left out of that")
    valid_from: str | None = Field(None, description="RFC 3339, or a day")
    valid_to: str | None = Field(None, description="RFC 3339: the first moment at which it holds no more; or the last day on which it does")
    copies: str | None = Field(None, description="which copies its licence allows beside the catalogue: none, lossy or lossless; nothing said: lossy")
    tags: list[str] = Field(default_factory=list, description="words for groups of recordings, which rules can name", examples=[["cleared for news"]])

    def kept(self) -> tuple[dict[str, Any], list[str]]:
        """As the catalogue keeps it, and a sentence for each field that it cannot keep."""
        kept, wrong = checked(self.model_dump(exclude_none=True))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}, wrong


class NewUpload(Taken):
    """What is to be sent."""

    file_name: str = Field(
        description="as the recording's owner calls it; its ending tells what it is", min_length=1, max_length=_FILE_NAME_CHARS_MAX, examples=["song.flac"]
    )
    content_type: str = Field(
        description="audio/…, video/… (its sound), application/ogg or application/octet-stream", pattern=_CONTENT_TYPE, examples=["audio/flac"]
    )
    size_bytes: int = Field(description="exact: S3 takes neither more nor less", gt=0, examples=[31_457_280])
    sha256: str | None = Field(None, description="of the file, in hexadecimal: S3 then takes nothing else", pattern=r"^[0-9a-fA-F]{64}$")
    metadata: Described = Field(default_factory=Described)

    @field_validator("file_name")
    @classmethod
    def _of_a_recording(cls, file_name: str) -> str:
        if not is_storable(file_name):
            raise ValueError("has a character that is no text")
        if not is_recording(file_name):
            raise ValueError("is not the name of a recording: pictures, texts, JSON and hidden files are left alone by the catalogue")
        return file_name


class FormDocument(BaseModel):
    """How to send it: multipart/form-data to `url`, the fields in any order, and last a part `file` with the bytes."""

    url: str
    fields: dict[str, str]


class UploadDocument(BaseModel):
    """An upload: `waiting` for its bytes, `received`, `fingerprinted` as a track, `rejected`, `expired`, or `removed` again."""

    upload_id: str
    state: State
    track_id: str | None = Field(None, description="of the recording that it has become")
    reasons: list[str] = Field(default_factory=list, description="why it was rejected, a sentence each")
    key: str = Field(description="where in the bucket it is, or is to be")
    file_name: str
    content_type: str
    size_bytes: int
    created_at: datetime
    valid_until: datetime = Field(description="S3 takes the form until then")


class NewUploadDocument(UploadDocument):
    """The same, and its form, which is shown this once."""

    form: FormDocument


class TracksPage(BaseModel):
    """Recordings by their ids."""

    tracks: list[Track]
    next: str | None = Field(None, description="what to give as `after` for the next page; null: this is the last")


class StreamsPage(BaseModel):
    """Sessions, newest first."""

    streams: list["StreamSummary"]
    next: str | None = Field(None, description="what to give as `after` for the next page; null: this is the last")


class StreamSummary(BaseModel):
    """One session, in short."""

    stream_id: str
    source: str
    state: str = Field(description="wanted, running, ended or quarantined")
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str
    heard_s: float
    gap_s: float
    playing: list[str] = Field(description="ids of the recordings that play now")


class StreamDocument(BaseModel):
    """`stream.json`, as it lies in S3 (config/schema/stream.v1.json), and the hits of its newest plays (hit.v1.json)."""

    model_config = ConfigDict(extra="allow")
    schema_version: int
    stream: dict[str, Any]
    state: str
    coverage: dict[str, Any]
    gaps: list[dict[str, Any]]
    plays: list[dict[str, Any]]
    hits: list[dict[str, Any]]
    hits_left_out: int = Field(description="older hits that are not among `hits`")


class MatchDocument(BaseModel):
    """A stretch of the clip that follows a stretch of a recording, as `earmark identify --json` has it."""

    track_id: str
    begin_s: float = Field(description="since the clip's beginning")
    end_s: float
    reference_begin_s: float = Field(description="second of the recording that sounds at `begin_s`")
    speed: float = Field(description="reference seconds per second of the clip: 1.03 is played 3 % fast")
    score: float = Field(description="evidence, in nats against chance")
    false_alarms_per_hour: float | None
    matched_s: float
    also_matching: list[str] = Field(description="other recordings that explain the same seconds, less well")
    heard_as: HeardAs | None = Field(description="the alias of the recording by whose sound it was heard, in that one's own seconds")
    track: Track | None


class Identified(BaseModel):
    """Which recordings are in the clip, best first; none: nothing that the catalogue knows."""

    duration_s: float
    fingerprint_version: int
    matches: list[MatchDocument]


class Health(BaseModel):
    status: str


class Columns(BaseModel):
    """The peaks, in order of time and frequency, columns of one length."""

    eighth_frames: list[int] = Field(description="time in eighths of a frame of 32 ms")
    eighth_hz: list[int] = Field(description="frequency in eighths of a hertz")
    hashed: list[Annotated[int, Field(ge=0, le=1)]] = Field(description="1: of the sparse set")
    salience: list[float] = Field(description="by how many nepers it stands out")


class FingerprintDocument(BaseModel):
    """What `earmark fingerprint FILE --json` writes (config/schema/fingerprint.v1.json): the peaks of a clip, and no sound."""

    format: str = Field(examples=["earmark-fingerprint"])
    format_version: int
    fingerprint_version: int
    duration_s: float
    peaks: Columns
