"""Clients from the settings: made once, by any thread, and what is said when there can be none."""

import pytest

from earmark.aws import Clients
from earmark.errors import BadSettings
from earmark.settings import Aws


def test_a_client_is_made_when_it_is_first_used_and_kept(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_IVS", "http://127.0.0.1:2")
    clients = Clients(Aws(region="eu-west-1", endpoint_url="http://127.0.0.1:1"))
    assert clients.s3 is clients.s3
    assert (clients.s3.meta.region_name, clients.s3.meta.endpoint_url) == ("eu-west-1", "http://127.0.0.1:1")
    assert clients.ivs.meta.endpoint_url == "http://127.0.0.1:2"


def test_without_a_region_the_remedy_is_named(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(BadSettings, match=r"set aws\.region, or AWS_REGION"):
        _ = Clients(Aws()).sqs


def test_a_profile_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(BadSettings, match=r"profile \(nobody\) could not be found"):
        _ = Clients(Aws(region="eu-west-1")).sqs
