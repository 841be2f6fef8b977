"""What the errors of boto3 mean: try again later, or never."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from earmark.errors import AwsRefused, AwsUnavailable

#: Codes of 4xx answers that pass: a limit that refills, or credentials that are being renewed.
_PASSING = {
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException"),
    *("RequestLimitExceeded", "SlowDown", "KmsThrottled", "OverLimit", "ServiceUnavailable", "PendingVerification"),
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeout"),
}
_DENIED = {"AccessDenied", "AccessDeniedException", "ForbiddenException", "UnauthorizedOperation", "KmsAccessDenied"}
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_PASSING_ERRORS = (BotoConnectionError, HTTPClientError, CredentialRetrievalError, MetadataRetrievalError)


@contextmanager
def asking(operation: str, of: str) -> Iterator[None]:
    """Turns botocore's errors inside the block into AwsUnavailable or AwsRefused, as one sentence.

    `operation` is the IAM action (`sqs:ReceiveMessage`), `of` what it was asked about.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(error, operation, of) from error
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


def _answered(error: ClientError, operation: str, of: str) -> AwsUnavailable | AwsRefused:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".") or "no reason given"
    if status >= 500 or status == 429 or code(error) in _PASSING:
        return AwsUnavailable(f"{operation} of {of} failed for now: {code(error)}: {reason}")
    remedy = f"; allow {operation} in the role's policy" if code(error) in _DENIED else ""
    return AwsRefused(f"{operation} of {of} was refused: {code(error)}: {reason}{remedy}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
