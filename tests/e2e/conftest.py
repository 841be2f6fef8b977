"""What tests of the whole way share.

media    a deployment whose bucket is the catalogue, and a database; see `media_bucket`
"""

from pathlib import Path

import pytest

from earmark.local.aws import AwsStandIn
from media_bucket import Media


@pytest.fixture
def media(aws: AwsStandIn, dsn: str, tmp_path: Path) -> Media:
    return Media(aws, dsn, tmp_path)
