"""AWS through boto3: clients made from the settings, and what their errors mean (try again later, or never)."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any
from urllib.parse import quote

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.model import ServiceId
from botocore.signers import RequestSigner

from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, DatabaseUnavailable
from earmark.settings import Aws


class Clients:
    """Each made when first used; all of them may be used, and made, by many threads at once.

    (boto3 guide, "Multithreading": clients may be shared, the session that makes them may not, hence the lock.)

    Untyped, because each room declares what it uses of its client, and boto3's own types are narrower than that.
    """

    def __init__(self, settings: Aws, *, connections_max: int = 32) -> None:
        self._settings = settings
        self._making = threading.Lock()
        # ECS sets AWS_REGION; boto3 by itself only looks at AWS_DEFAULT_REGION.
        try:
            self._session = boto3.Session(region_name=settings.region or os.environ.get("AWS_REGION") or None)
        except BotoCoreError as error:  # AWS_PROFILE names one that is not there
            raise BadSettings(f"AWS cannot be asked: {_line(error)}") from None
        self._config = Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            retries={"total_max_attempts": settings.attempts_max, "mode": "standard"},
            max_pool_connections=connections_max,
            # Against stand-ins and S3-compatible stores that know no trailing checksums.
            request_checksum_calculation="when_required",
        )

    @cached_property
    def sqs(self) -> Any:
        return self._client("sqs")

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def s3_signer(self) -> Any:
        """What others are to send, it signs by version 4; botocore's own choice is version 2, which buckets with KMS keys refuse."""
        return self._client("s3", Config(signature_version="s3v4"))

    @cached_property
    def sns(self) -> Any:
        return self._client("sns")

    @cached_property
    def events(self) -> Any:
        return self._client("events")

    @cached_property
    def ivs(self) -> Any:
        return self._client("ivs")

    @cached_property
    def secretsmanager(self) -> Any:
        return self._client("secretsmanager")

    @cached_property
    def medialive(self) -> Any:
        return self._client("medialive")

    def _client(self, service: str, changed: Config | None = None) -> Any:
        # An endpoint for one service (AWS_ENDPOINT_URL_IVS) goes before the one for all, so ours is only a default.
        named = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        try:
            with self._making:
                config = self._config.merge(changed) if changed else self._config
                return self._session.client(service, endpoint_url=named or self._settings.endpoint_url or None, config=config)  # type: ignore[call-overload]
        except NoRegionError:
            raise BadSettings("no AWS region is known: set aws.region, or AWS_REGION") from None
        except (BotoCoreError, ValueError) as error:
            raise BadSettings(f"the {service} client cannot be made: {error}") from None


def database_token(connection: Mapping[str, Any]) -> str:
    """What Amazon RDS takes as a password for the next 15 minutes; signed here, without asking anybody.

    (Aurora user guide, "IAM database authentication".) By botocore's signer alone: the client for RDS would take 15 MB for
    this one address. `connection`: libpq's parameters, whose host and user may stand in libpq's variables instead.

    Raises BadSettings where there is no host, user, region or credentials.
    """
    variables = (("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"))
    host, port, user = (str(connection.get(name) or os.environ.get(variable, "")) for name, variable in variables)
    if not host or not user or "," in host:
        raise BadSettings("database.iam needs one host and a user: name both in database.dsn, or in PGHOST and PGUSER")
    session = _session()
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if not region:
        raise BadSettings("database.iam needs an AWS region: set AWS_REGION")
    try:
        credentials = session.get_credentials()
        if credentials is None:
            raise BadSettings("database.iam needs AWS credentials and there are none: give the task a role, or set a profile")
        signer = RequestSigner(ServiceId("rds-db"), region, "rds-db", "v4", credentials, session.get_component("event_emitter"))
        url = f"https://{host}:{port or 5432}/?Action=connect&DBUser={quote(user)}"
        request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
        signed: str = signer.generate_presigned_url(request, operation_name="connect", expires_in=900)
    except BotoCoreError as error:  # the role's credentials cannot be had just now
        raise DatabaseUnavailable(f"no token for the database {host} could be signed: {_line(error)}") from error
    return signed.removeprefix("https://")


@cache
def _session() -> botocore.session.Session:
    """One for all tokens: it renews the role's credentials by itself."""
    return botocore.session.get_session()


# ------------------------------------------------------------------------------------------------ errors

#: Codes of 4xx answers that pass: a limit that refills, credentials that are being renewed, somebody who writes at the same moment.
_PASSING = {
    *("Throttling", "ThrottlingException", "Throttled", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException"),
    *("RequestLimitExceeded", "SlowDown", "KmsThrottled", "KMSThrottling", "KMSThrottlingException", "OverLimit", "ServiceUnavailable", "PendingVerification"),
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeout", "RequestTimeoutException", "OperationAborted", "ConditionalRequestConflict"),
}
#: HEAD has no body to carry a code, so its code is the status.
_DENIED = {
    *("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthorizationError", "AuthorizationErrorException", "ForbiddenException"),
    *("UnauthorizedOperation", "403"),
}
#: What to do about codes that mean the same whatever was asked.
_REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch"), "check the credentials that this process runs with"),
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed"), "set aws.region to the region it is in"),
    **dict.fromkeys(("KMSAccessDenied", "KmsAccessDenied"), "allow kms:GenerateDataKey and kms:Decrypt on its key in the role's policy"),
    "RequestTimeTooSkewed": "set the clock of this machine",
}
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_PASSING_ERRORS = (BotoConnectionError, HTTPClientError, CredentialRetrievalError, IncompleteReadError, MetadataRetrievalError)


@contextmanager
def asking(operation: str, of: str, *, absent: str = "") -> Iterator[None]:
    """Turns botocore's errors inside the block into AwsUnavailable or AwsRefused, as one sentence.

    `operation` is the IAM action (`sqs:ReceiveMessage`), `of` what it was asked about, `absent` what to do where that
    does not exist.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(error, operation, of, absent) from error
    except _PASSING_ERRORS as error:
        raise AwsUnavailable(f"{operation} of {of} got no answer: {_line(error)}") from error
    except _NO_CREDENTIALS as error:
        raise AwsRefused(f"{operation} of {of} needs AWS credentials and there are none: give the task a role, or set a profile") from error
    except NoRegionError as error:
        raise AwsRefused(f"{operation} of {of} needs an AWS region: set aws.region, or AWS_REGION") from error
    except BotoCoreError as error:
        raise AwsRefused(f"{operation} of {of} cannot be asked: {_line(error)}") from error


def code(error: ClientError) -> str:
    """`ResourceNotFoundException`, `AccessDenied`, ...; older protocols put a prefix before a dot."""
    return str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]


def status(error: ClientError) -> int:
    """Of the HTTP answer; 0 if there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answered(error: ClientError, operation: str, of: str, absent: str) -> AwsUnavailable | AwsRefused:
    # IVS has it in a member of its own.
    reason = _line(error.response.get("Error", {}).get("Message") or error.response.get("exceptionMessage") or "") or "no reason given"
    if status(error) >= 500 or status(error) == 429 or code(error) in _PASSING:
        return AwsUnavailable(f"{operation} of {of} failed for now: {code(error)}: {reason}")
    remedy = f"allow {operation} in the role's policy" if code(error) in _DENIED else _REMEDIES.get(code(error), "" if status(error) != 404 else absent)
    return AwsRefused(f"{operation} of {of} was refused: {code(error)}: {reason}{'; ' if remedy else ''}{remedy}")


def _line(said: object) -> str:
    return " ".join(str(said).split()).rstrip(".")[:300]
