"""How private IVS channels are listened to."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from earmark.settings.section import Positive, Section

#: Amazon IVS user guide, "Generate and Sign Playback Tokens": of a token for one use, or for one viewer.
NARROW_S_MAX = 600


class Ivs(Section):
    """Private channels: each opening of their playlist needs a token of its own, signed by us."""

    playback_key: SecretStr = Field(
        SecretStr(""),
        description="private key of a playback key pair whose public half is imported into IVS: in PEM, or the ARN of the Secrets Manager secret that holds it; empty: private channels are not listened to",
    )
    token_s: Positive = Field(
        300, le=86_400, description="how long a token opens playback; it is checked then, not throughout; at most 600 for one use or one viewer"
    )
    single_use: bool = Field(False, description="each token opens one playback (aws:single-use-uuid), so that one that leaks is worth nothing")
    viewer_id: str = Field(
        "", max_length=40, pattern=r"^[A-Za-z0-9._-]*$", description="aws:viewer-id of all our tokens, by which our viewing can be revoked; empty: none"
    )

    @model_validator(mode="after")
    def _short_enough(self) -> Self:
        if (self.single_use or self.viewer_id) and self.token_s > NARROW_S_MAX:
            narrow = "ivs.single_use" if self.single_use else "ivs.viewer_id"
            raise ValueError(f"ivs.token_s ({self.token_s:g}) must be at most {NARROW_S_MAX} with {narrow}, or IVS refuses the tokens")
        return self
