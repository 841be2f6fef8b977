"""Where hits are posted to, and how receivers know that they come from us."""

import base64
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_serializer, model_validator

from earmark.settings.actions import ActionSection
from earmark.settings.section import Positive

#: Standard Webhooks 1.0, "Signature scheme": of a secret, after this prefix, in base64, so many bytes.
PREFIX: Final = "whsec_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
#: One, and another one while it takes the first one's place.
SECRETS_MAX: Final = 2
_REMEDY: Final = "make one with: echo whsec_$(openssl rand -base64 32)"


class Webhook(ActionSection):
    """Hits are posted to an address of yours, signed as Standard Webhooks has it (standardwebhooks.com)."""

    url: str = Field("", description="https address that hits are posted to; where a token stands in its path or query, only the host is ever shown")
    secret: SecretStr = Field(
        SecretStr(""),
        description="whsec_ and 24 to 64 random bytes in base64, or the ARN of the Secrets Manager secret that holds it; two with a space between them sign both, the newer first, until every receiver knows it",
    )
    states: tuple[Literal["provisional", "open", "closed"], ...] = Field(
        ("open", "closed"), description="at which states of a play: one request per state and play"
    )
    allow_private: tuple[str, ...] = Field(
        (), description="host:port pairs at private or loopback addresses that may be posted to all the same, by plain http too; metadata services never"
    )
    connect_timeout_s: Positive = Field(5, le=10, description="for a connection, and as long again for its TLS handshake")
    deadline_s: Positive = Field(
        15, le=20, description="from its first step to the head of its answer, however it dribbles; the look-up of a name alone is not cut short"
    )
    retry_after_s_max: Positive = Field(
        3_600, description="a receiver that asks to be left alone for longer (Retry-After) is asked again after this all the same"
    )
    threads: int = Field(4, ge=1, le=32, description="requests under way at once; they are this action's own: a receiver that hangs holds up nothing else")

    @model_validator(mode="after")
    def _can_be_posted(self) -> Self:
        if self.mode != "off" and not (self.url and self.secret.get_secret_value()):
            raise ValueError(f"webhook.mode is {self.mode}, and webhook.{'secret' if self.url else 'url'} is empty: hits are posted signed, or not at all")
        if self.url:
            self._check_url()
        said = self.secret.get_secret_value().strip()
        if said and not said.startswith("arn:"):
            signing_keys(said, "webhook.secret")
        return self

    def _check_url(self) -> None:
        """Raises ValueError; never with more than the host, as all else may be a token."""
        # Where there is one: most commands have none.
        from urllib3.exceptions import LocationParseError  # noqa: PLC0415
        from urllib3.util import parse_url  # noqa: PLC0415

        from earmark.web.addresses import DEFAULT_PORTS, is_named, is_named_metadata, port_of  # noqa: PLC0415

        try:
            parsed = parse_url(self.url)
        except LocationParseError:
            raise ValueError("webhook.url is not a URL") from None
        if parsed.scheme not in DEFAULT_PORTS or not parsed.host or not self.url.isprintable():
            raise ValueError("webhook.url is not an address that begins with https:// and names a host")
        if parsed.auth:
            raise ValueError(f"webhook.url ({parsed.host}) names a user: requests are known by their signature; leave that out")
        if is_named_metadata(parsed.host):
            raise ValueError(f"webhook.url ({parsed.host}) is a metadata service: nothing is ever posted there")
        if parsed.scheme == "http" and not is_named(parsed.host, port_of(parsed), [pair.lower() for pair in self.allow_private]):
            raise ValueError(
                f"webhook.url ({parsed.host}) is plain http, by which everybody on the way reads hits: use https, or, on a private network, "
                f"add {parsed.host}:{port_of(parsed)} to webhook.allow_private"
            )

    @field_serializer("url", when_used="json")
    def _shown(self, url: str) -> str:
        """For people: a receiver often knows its senders by a path that nobody guesses."""
        scheme, _, rest = url.partition("://")
        head, slash, path = rest.partition("/")
        return f"{scheme}://{head.rpartition('@')[2].partition('?')[0]}{slash}{'**********' if path or '?' in head else ''}" if url else ""


def signing_keys(text: str, what: str) -> tuple[bytes, ...]:
    """The keys of one secret or of two; `what`: where they stand, for messages. Raises ValueError; never with anything of a secret."""
    words = text.replace(",", " ").split()
    if not 1 <= len(words) <= SECRETS_MAX:
        raise ValueError(f"{what} holds {'no secret' if not words else f'{len(words)} secrets'}, and has to hold one, or two while one takes the other's place")
    return tuple(_key(word, what) for word in words)


def _key(word: str, what: str) -> bytes:
    prefix, text = word[: len(PREFIX)], word[len(PREFIX) :]
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True) if prefix == PREFIX else None
    except ValueError:
        key = None
    if key is None:
        raise ValueError(f"{what} holds a secret that is not {PREFIX} and base64 after it: {_REMEDY}")
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError(f"{what} holds a secret of {len(key)} bytes, and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} are asked for: {_REMEDY}")
    return key
