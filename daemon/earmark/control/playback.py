"""Addresses at which private IVS channels are played: the channel's own, with a token that we sign.

Amazon IVS user guide, "Setting Up Private Channels" and "Generate and Sign Playback Tokens": a JSON Web Token (RFC 7519),
signed with ES384 by the private half of a playback key pair whose public half is with IVS. A token is checked when playback
begins, and what the playlist then names carries rights of its own. So each opening gets a new one, and none is used twice.
"""

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from botocore.exceptions import ClientError

from earmark.aws import asking, code
from earmark.errors import AwsRefused, BadSettings, SourceUnsupported
from earmark.settings import Ivs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

#: A secret is read again after this, since keys are rotated.
KEY_S: Final = 900.0
#: RFC 7518, section 3.4: both numbers of a signature, of 48 bytes each.
_NUMBER_BYTES: Final = 48
_CURVE: Final = "secp384r1"
_REMEDY: Final = "make one with: openssl ecparam -name secp384r1 -genkey -noout"
#: What is said where a token is refused.
IF_FORBIDDEN: Final = "is the channel private, and the public half of ivs.playback_key imported as a playback key in its region?"


class SecretsManager(Protocol):
    """boto3's `secretsmanager` client, as far as it is used."""

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]: ...  # noqa: N803 -- boto3's name


def unsigned(_playback_url: str, channel_arn: str) -> str:
    """The address of a private channel, without a key: there is none."""
    raise SourceUnsupported(f"the IVS channel {channel_arn} is private: its playback needs a signed token; set ivs.playback_key to the key that signs it")


class Playback:
    """Thread-safe."""

    def __init__(
        self,
        *,
        settings: Ivs,
        secrets: Callable[[], SecretsManager],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: Unix time. Raises BadSettings for a key in the settings that is none."""
        self._settings = settings
        self._secrets = secrets
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        said = settings.playback_key.get_secret_value().strip()
        self._arn = said if said.startswith("arn:") else ""
        self._key = _key_of(said, "ivs.playback_key") if said and not self._arn else None
        self._read_at = 0.0

    def address(self, playback_url: str, channel_arn: str) -> str:
        """For one opening. Raises SourceUnsupported without a key, AwsUnavailable, AwsRefused or BadSettings where it cannot be had."""
        if not self._settings.playback_key.get_secret_value():
            return unsigned(playback_url, channel_arn)
        separator = "&" if "?" in playback_url else "?"
        return f"{playback_url}{separator}token={quote(self.token(channel_arn), safe='')}"

    def token(self, channel_arn: str) -> str:
        """A new one. Raises as `address`."""
        # Six megabytes that most daemons never need.
        from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA384  # noqa: PLC0415

        settings = self._settings
        claims: dict[str, Any] = {"aws:channel-arn": channel_arn, "exp": int(self._now() + settings.token_s)}
        if settings.single_use:
            claims["aws:single-use-uuid"] = str(uuid.uuid4())
        if settings.viewer_id:
            claims["aws:viewer-id"] = settings.viewer_id
        said = f"{_encoded(_json({'alg': 'ES384', 'typ': 'JWT'}))}.{_encoded(_json(claims))}"
        numbers = utils.decode_dss_signature(self._private().sign(said.encode(), ec.ECDSA(SHA384())))
        return f"{said}.{_encoded(b''.join(number.to_bytes(_NUMBER_BYTES) for number in numbers))}"

    def _private(self) -> "EllipticCurvePrivateKey":
        with self._lock:
            if self._key is None or (self._arn and self._clock() - self._read_at >= KEY_S):
                self._key = _key_of(self._secret(), f"the secret {self._arn}")
                self._read_at = self._clock()
            return self._key

    def _secret(self) -> str:
        with asking("secretsmanager:GetSecretValue", self._arn):
            try:
                answer = self._secrets().get_secret_value(SecretId=self._arn)
            except ClientError as error:
                if code(error) == "ResourceNotFoundException":
                    raise AwsRefused(f"the secret {self._arn} of ivs.playback_key does not exist: put the playback key's private half into one") from None
                raise
        return str(answer.get("SecretString") or (answer.get("SecretBinary") or b"").decode("ascii", "replace"))


def _key_of(pem: str, what: str) -> "EllipticCurvePrivateKey":
    """Raises BadSettings; never with anything of the key."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:  # environment variables often have line breaks as two characters
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadSettings(f"{what} holds no private key in PEM, or one with a passphrase: {_REMEDY}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        raise BadSettings(f"{what} holds a key of another kind; IVS's tokens are signed with ES384, by a key of the curve P-384: {_REMEDY}")
    return key


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    """RFC 7515, section 2: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
