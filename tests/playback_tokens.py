"""The other side of private IVS channels: an origin that checks tokens as IVS does, with the public half of the key."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def pem_of(key: Any) -> str:
    if hasattr(key, "private_bytes"):
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims_of(token: str, public: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """Raises InvalidSignature."""
    head, claims, signature = token.split(".")
    numbers = _decoded(signature)
    r, s = int.from_bytes(numbers[:48]), int.from_bytes(numbers[48:])
    public.verify(utils.encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(SHA384()))
    found: dict[str, Any] = json.loads(_decoded(claims))
    return found


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Gate:
    """Lets a playlist through to who brings a token for its channel that has not expired and, if it is for one use, is new."""

    def __init__(self, public: ec.EllipticCurvePublicKey, channel_arn: str, *, now: Callable[[], float] = time.time) -> None:
        self._public, self._channel_arn, self._now = public, channel_arn, now
        self.tokens: list[str] = []
        self.refused: list[str] = []
        self._used: set[str] = set()

    def opens(self, address: str) -> bool:
        token = (parse_qs(urlsplit(address).query).get("token") or [""])[0]
        self.tokens.append(token)
        why = self._refusal(token)
        if why:
            self.refused.append(why)
        return not why

    def _refusal(self, token: str) -> str:
        try:
            claims = claims_of(token, self._public)
        except (InvalidSignature, ValueError):
            return "forged"
        if claims["aws:channel-arn"] != self._channel_arn:
            return "another channel's"
        if not self._now() < claims["exp"] <= self._now() + 86_400:
            return "expired"
        single = claims.get("aws:single-use-uuid")
        if single in self._used:
            return "used"
        if single:
            if claims["exp"] > self._now() + 600:
                return "for too long"
            self._used.add(single)
        return ""
