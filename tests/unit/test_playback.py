"""Tokens of private IVS channels: what is in them, that they are signed as IVS wants them, and that each is another."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr, ValidationError

from control_ivs import refusal
from earmark.control.playback import KEY_S, Playback
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, SourceUnsupported
from earmark.settings import Ivs, load
from playback_tokens import claims_of, new_key, pem_of

ARN = "arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:playback-AbCdEf"
NOW = 1_800_000_000.0
KEY = new_key()


class Secrets:
    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(SecretId)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def playback(key: str = pem_of(KEY), *, secrets: Secrets | None = None, clock: Any = lambda: 0.0, **more: Any) -> Playback:
    settings = Ivs(playback_key=SecretStr(key), **more)
    return Playback(settings=settings, secrets=lambda: secrets or pytest.fail("no secret is to be read"), now=lambda: NOW, clock=clock)


def test_a_token_says_which_channel_and_until_when_in_seconds() -> None:
    token = playback(token_s=120).token(ARN)
    assert claims_of(token, KEY.public_key()) == {"aws:channel-arn": ARN, "exp": int(NOW) + 120}
    header, _, signature = token.split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "ES384", "typ": "JWT"}
    assert len(base64.urlsafe_b64decode(signature + "==")) == 96, "two numbers of 48 bytes, not DER"


def test_each_opening_has_a_token_of_its_own() -> None:
    signing = playback(single_use=True, viewer_id="earmark-1")
    addresses = [signing.address("https://x.live-video.net/m.m3u8", ARN) for _ in range(3)]
    claims = [claims_of(address.partition("?token=")[2], KEY.public_key()) for address in addresses]
    assert len({claim["aws:single-use-uuid"] for claim in claims}) == 3
    assert {claim["aws:viewer-id"] for claim in claims} == {"earmark-1"}
    assert len(set(addresses)) == 3
    assert "?a=b&token=" in signing.address("https://x/m.m3u8?a=b", ARN)


def test_the_key_may_be_a_secret_and_is_read_again_after_a_while() -> None:
    other, clock = new_key(), [0.0]
    secrets = Secrets({"SecretString": pem_of(KEY)}, {"SecretBinary": pem_of(other).encode()})
    signing = playback(SECRET, secrets=secrets, clock=lambda: clock[0])
    assert secrets.asked == []
    for _ in range(2):
        claims_of(signing.token(ARN), KEY.public_key())
    clock[0] = KEY_S
    claims_of(signing.token(ARN), other.public_key())
    assert secrets.asked == [SECRET] * 2


def test_without_a_key_a_private_channel_is_refused_in_a_sentence() -> None:
    with pytest.raises(SourceUnsupported, match=f"{ARN} is private: its playback needs a signed token; set ivs.playback_key"):
        playback("").address("https://x", ARN)


@pytest.mark.parametrize(
    "pem, sentence",
    [
        ("nonsense", "holds no private key in PEM"),
        (pem_of(KEY.public_key()), "holds no private key in PEM"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "of another kind; IVS's tokens are signed with ES384"),
        (pem_of(rsa.generate_private_key(public_exponent=65_537, key_size=1_024)), "of another kind"),
    ],
)
def test_a_key_that_is_none_is_said_at_the_start_and_never_shown(pem: str, sentence: str) -> None:
    with pytest.raises(BadSettings, match=sentence) as told:
        playback(pem)
    assert "ivs.playback_key" in str(told.value) and pem.strip()[-40:] not in str(told.value)
    with pytest.raises(BadSettings, match=f"the secret {SECRET} "):
        playback(SECRET, secrets=Secrets({"SecretString": pem})).token(ARN)


def test_line_breaks_may_be_written_as_two_characters() -> None:
    claims_of(playback(pem_of(KEY).replace("\n", "\\n")).token(ARN), KEY.public_key())


@pytest.mark.parametrize(
    "code, error, sentence",
    [
        ("ResourceNotFoundException", AwsRefused, "does not exist: put the playback key's private half into one"),
        ("AccessDeniedException", AwsRefused, "allow secretsmanager:GetSecretValue in the role's policy"),
        ("ThrottlingException", AwsUnavailable, "failed for now"),
    ],
)
def test_a_secret_that_cannot_be_read(code: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        playback(SECRET, secrets=Secrets(refusal(code, "GetSecretValue"))).token(ARN)


@pytest.mark.parametrize("narrow", [{"single_use": True}, {"viewer_id": "one"}])
def test_a_token_for_one_use_or_viewer_lives_ten_minutes_at_most(narrow: dict[str, Any]) -> None:
    Ivs(token_s=600, **narrow)
    with pytest.raises(ValidationError, match=r"ivs\.token_s \(601\) must be at most 600 with ivs\."):
        Ivs(token_s=601, **narrow)


def test_the_key_is_not_shown_with_the_settings() -> None:
    settings = load(environ={"EARMARK_IVS__PLAYBACK_KEY": pem_of(KEY)}).settings
    assert "PRIVATE" not in settings.model_dump_json() + repr(settings)
