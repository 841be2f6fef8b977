"""What is kept beside each hit that proves it, besides its peaks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from earmark.settings.section import Section

#: What proves a play is a window of so many seconds.
_WINDOW_S = 12


class Evidence(Section):
    """Clips and pictures. How long they, and the peaks, are kept says retention.evidence_days."""

    picture: bool = Field(True, description="a drawing of the peaks and of how far they stand out of chance goes to S3 beside each hit, some 40 kB as SVG")
    clip: bool = Field(
        False,
        description="the stream's own sound around the beginning of each play goes to S3 beside its hit: it holds what people said, so whoever runs the stream decides; 0.7 MB of memory a stream",
    )
    clip_before_s: float = Field(5, ge=0, le=30, description="a clip begins so long before its play")
    clip_s_max: float = Field(30, ge=15, le=60, description="and lasts no longer than this; a window of 12 s of it must prove the play")
    clip_codec: Literal["flac", "opus"] = Field(
        "flac",
        description="flac: what was heard (mono at 8 kHz, some 13 kB a second), so that it gives the same peaks again; opus: a quarter of that, and about the same peaks",
    )
    waiting_bytes_max: int = Field(
        256_000_000, ge=1_000_000, description="clips that wait in PostgreSQL for S3; while it takes none, plays beyond have none, and their hits say so"
    )

    @model_validator(mode="after")
    def _holds_the_play(self) -> Self:
        if self.clip_s_max - self.clip_before_s < _WINDOW_S:
            lasts = f"evidence.clip_s_max ({self.clip_s_max:g}) must exceed evidence.clip_before_s ({self.clip_before_s:g}) by {_WINDOW_S} s"
            raise ValueError(f"{lasts}, or a clip ends before its play is proved")
        return self
