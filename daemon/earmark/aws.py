"""boto3's clients, made from the settings: one session, bounded waits, bounded attempts."""

import os
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError

from earmark.errors import BadSettings
from earmark.settings import Aws

class Clients:
    """Each made when first used; all of them may be used by many threads at once (boto3 guide, "Multithreading").

    Untyped, because each room declares what it uses of its client, and boto3's own types are narrower than that.
    """

    def __init__(self, settings: Aws, *, connections_max: int = 32) -> None:
        self._settings = settings
        # ECS sets AWS_REGION; boto3 by itself only looks at AWS_DEFAULT_REGION.
        self._session = boto3.Session(region_name=settings.region or os.environ.get("AWS_REGION") or None)
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
    def sns(self) -> Any:
        return self._client("sns")

    @cached_property
    def ivs(self) -> Any:
        return self._client("ivs")

    @cached_property
    def medialive(self) -> Any:
        return self._client("medialive")

    def _client(self, service: str) -> Any:
        # An endpoint for one service (AWS_ENDPOINT_URL_IVS) goes before the one for all, so ours is only a default.
        named = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        try:
            return self._session.client(service, endpoint_url=named or self._settings.endpoint_url or None, config=self._config)  # type: ignore[call-overload]
        except NoRegionError:
            raise BadSettings("no AWS region is known: set aws.region, or AWS_REGION") from None
        except (BotoCoreError, ValueError) as error:
            raise BadSettings(f"the {service} client cannot be made: {error}") from None
