"""What a receiver of hits may rely on, tried with the library that receivers use; and what a receiver may do, tried on a real server."""

import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from standardwebhooks import Webhook as Library
from standardwebhooks import WebhookVerificationError

import earmark.actions.webhook
import hits_samples as samples
from earmark.actions.webhook import GONE_S, PAUSE_S_MAX, SECRET_S, WebhookSink, _seconds, _where, about, event_id, signed
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, WebhookRefused, WebhookUnavailable
from earmark.hits.outbox import Publisher, owed
from earmark.hits.queueing import enqueue
from earmark.hits.record import Outgoing, safe_name
from earmark.hits.text import dumps
from earmark.postgres import transaction
from earmark.settings import Outbox, Webhook
from earmark.settings.webhook import signing_keys
from earmark.web.exchange import Head
from security_addresses import forms, world
from webhook_receiver import OTHER_SECRET, SECRET, Clock, NoSecrets, Receiver, Says, certificate_of

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:webhook-AbCdEf"


def told(revision=1, **changes):
    hit = samples.hit()
    hit = {**hit, "revision": revision, "track": {**hit["track"], "title": '<script>alert("Grüße 🎵")</script>\n'}}
    values = {"target": "webhook", "stream_id": hit["stream"]["id"], "key": hit["hit_id"], "revision": revision, "content_type": "application/json"}
    return Outgoing(**{**values, "body": dumps(hit), **changes})


@pytest.fixture
def receiver():
    with Receiver().running() as running:
        yield running


def sink_to(receiver, **changes):
    """`clock`, `now`, `resolve`, `tls` and `secrets` are the sink's, all else the settings'."""
    own = {name: changes.pop(name) for name in ("clock", "now", "resolve", "tls", "secrets") if name in changes}
    return WebhookSink(**{"settings": receiver.settings(**changes), "secrets": NoSecrets, **own})


def refused(sink, match, error=WebhookRefused):
    with pytest.raises(error, match=match) as caught:
        sink.send(told())
    assert "\n" not in str(caught.value)
    assert "unguessable" not in str(caught.value), "what stands in the path is between the operator and the receiver"
    return caught.value


# ------------------------------------------------------------------------------------------------ what a receiver may rely on


def test_a_hit_arrives_as_it_is_and_the_receivers_library_knows_whose_it_is(receiver):
    item = told()

    assert sink_to(receiver).send(item) == "stored"
    (posted,) = receiver.posted
    assert Library(SECRET).verify(posted.body, dict(posted.headers)) == json.loads(item.body)
    assert posted.body == item.body.encode()
    assert (posted.path, posted.headers["host"]) == ("/hits?token=unguessable", f"127.0.0.1:{receiver.port}")
    assert posted.headers["content-type"] == "application/json"
    samples.validator("hit").validate(json.loads(posted.body))


@pytest.mark.parametrize("altered", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"])
def test_what_was_altered_on_the_way_is_not_taken_for_ours(receiver, altered):
    sink_to(receiver).send(told())
    (posted,) = receiver.posted
    headers, body = dict(posted.headers), posted.body
    if altered == "body":
        body = body.replace(b'"track"', b'"allow"', 1)
    elif altered != "secret":
        headers[altered] = {"webhook-id": "another-1", "webhook-timestamp": str(int(time.time()) - 1)}.get(altered, "v1,AAAA")

    with pytest.raises(WebhookVerificationError):
        Library(OTHER_SECRET if altered == "secret" else SECRET).verify(body, headers)


@pytest.mark.parametrize("late_s", [-301, 301])
def test_a_replay_is_refused_after_five_minutes(receiver, late_s):
    sink_to(receiver, now=lambda: time.time() - late_s).send(told())
    (posted,) = receiver.posted

    with pytest.raises(WebhookVerificationError, match="too (old|new)"):
        Library(SECRET).verify(posted.body, dict(posted.headers))


def test_while_one_secret_takes_the_others_place_receivers_may_know_either(receiver):
    sink_to(receiver, secret=f"{OTHER_SECRET} {SECRET}").send(told())
    (posted,) = receiver.posted

    for secret in (SECRET, OTHER_SECRET):
        assert Library(secret).verify(posted.body, dict(posted.headers))["schema_version"] == 1


def test_a_repeat_has_the_same_id_and_a_time_of_its_own(receiver):
    now = [time.time() - 100]
    receiver.says = [Says(500), Says()]
    clock = Clock()
    sink = sink_to(receiver, now=lambda: now[0], clock=clock)
    with pytest.raises(WebhookUnavailable):
        sink.send(told())
    now[0], clock.time_s = time.time(), clock.time_s + 60
    sink.send(told())

    first, second = receiver.posted
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"{told().key}-1"
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 99
    assert Library(SECRET).verify(second.body, dict(second.headers))


def test_another_revision_of_a_hit_is_another_event(receiver):
    sink = sink_to(receiver)
    for revision in (1, 2):
        sink.send(told(revision))

    assert [posted.headers["webhook-id"] for posted in receiver.posted] == [f"{told().key}-{revision}" for revision in (1, 2)]


def test_routers_that_read_no_bodies_know_what_it_is_about(receiver):
    sink_to(receiver).send(told(stream_id="radio one/2026-11-22"))
    (posted,) = receiver.posted

    assert {name: value for name, value in posted.headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": posted.headers["webhook-id"],
        "ce-source": f"/earmark/streams/{safe_name('radio one/2026-11-22')}",
        "ce-type": "earmark.play.open",
    }


@given(
    key=st.text(min_size=1, max_size=40),
    stream_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    revision=st.integers(1, 10**6),
    keys=st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2),
)
@examples(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_strangers_wrote_it_is_signed_and_fits_into_its_fields(key, stream_id, text, revision, keys):
    item = told(revision, key=key, stream_id=stream_id, body=dumps({"state": "closed", "title": text}))
    body = item.body.encode()
    headers = {**signed(item, body, keys, at=int(time.time())), **about(item)}

    for one in keys:
        assert Library(one).verify(body, headers) == {"state": "closed", "title": text}
    assert all(value.isascii() and value.isprintable() and len(value) < 300 for value in headers.values())
    assert "." not in headers["webhook-id"], "a full stop would end it where the signature is made"


def test_a_hit_that_a_receiver_may_refuse_for_its_length_is_shortened_and_says_so(receiver):
    hit, long = samples.hit(), "🎵" * 2_000
    item = told(body=dumps({**hit, "track": {**hit["track"], "artists": [long] * 100, "title": long}}))

    sink_to(receiver).send(item)
    (posted,) = receiver.posted
    sent = Library(SECRET).verify(posted.body, dict(posted.headers))
    assert sent["truncated"] is True
    assert (sent["hit_id"], len(posted.body) < 20_000) == (hit["hit_id"], True)
    samples.validator("hit").validate(sent)


_DATES = st.from_regex(r"\A(Mon, )?-?[0-9]{1,5}[ -](Jan|Feb|Xyz)[ -][0-9]{1,6} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})? ?(GMT|[+-][0-9]{1,6}|-0000)?\Z")


@given(said=st.text(max_size=60) | _DATES | st.integers().map(str) | st.floats().map(str))
@examples(max_examples=400)
def test_whatever_retry_after_says_it_is_some_seconds(said):
    assert 0 <= _seconds(said, time.time()) < 1e15


@given(location=st.text(max_size=300) | st.from_regex(r"\A(https?|file|//)?:?/{0,3}[a-z0-9.:@\[\]%-]{0,40}(/.*)?\Z"))
@examples(max_examples=400)
def test_wherever_a_redirect_points_it_is_told_in_a_line(location):
    told = _where(Head(status=302, headers={"location": location}, length=0, chunked=False, stays=False), "hooks.example")
    assert told
    assert told.isprintable()
    assert len(told) < 200


def test_different_hits_and_revisions_have_different_ids():
    items = [told(revision, key=key) for key in ("AAAA", "AAAB") for revision in (1, 11)]

    assert len({event_id(item) for item in items}) == 4


# ------------------------------------------------------------------------------------------------ what it answers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_thanks(receiver, status):
    receiver.says = [Says(status)]

    assert sink_to(receiver).send(told()) == "stored"


@pytest.mark.parametrize(
    "status, error, says",
    [
        (500, WebhookUnavailable, "the webhook 127.0.0.1 answered 500: out of order"),
        (502, WebhookUnavailable, "answered 502"),
        (503, WebhookUnavailable, "answered 503"),
        (429, WebhookUnavailable, "answered 429"),
        (408, WebhookUnavailable, "answered 408"),
        (425, WebhookUnavailable, "answered 425"),
        (400, WebhookRefused, "answered 400: out of order"),
        (401, WebhookRefused, "answered 401: out of order .*; does it know webhook.secret"),
        (403, WebhookRefused, "does it know webhook.secret"),
        (404, WebhookRefused, "answered 404"),
        (405, WebhookRefused, "answered 405"),
        (410, WebhookRefused, "it wants no more hits; correct webhook.url, or set webhook.mode to off"),
        (413, WebhookRefused, "answered 413"),
        (422, WebhookRefused, "answered 422"),
    ],
)
def test_what_a_receiver_answers_means(receiver, status, error, says):
    receiver.says = [Says(status, b"out of\r\norder\x1b[31m" + b"\x00")]

    refused(sink_to(receiver), says, error)


@pytest.mark.parametrize(
    "said, wait_s",
    [
        ("120", 120),
        ("0", 0),
        ("999999999999999999999", 3_600),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("1e9", 0),
        ("1 Jan 2026 23:59:59 +999999999999999999999", 0),
        ("\u0661\u0662", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_a_receiver_that_asks_for_time_gets_it_within_reason(receiver, said, wait_s):
    receiver.says = [Says(429, headers={"Retry-After": said.encode().decode("latin-1")})]

    assert refused(sink_to(receiver), "429", WebhookUnavailable).retry_after_s == wait_s


def test_it_may_name_a_date(receiver):
    receiver.says = [Says(503, headers={"Retry-After": format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)})]

    assert 110 <= refused(sink_to(receiver), "503", WebhookUnavailable).retry_after_s <= 120


@pytest.mark.parametrize(
    "location, says",
    [
        ("http://169.254.169.254/latest/meta-data/", "points to 169.254.169.254, which is a metadata service: redirects are not followed"),
        ("http://[fd00:ec2::254]/", "which is a metadata service"),
        (
            "http://{listener}/",
            "to 127.0.0.1, which is not a public address: redirects are not followed; put the address that is meant into webhook.url",
        ),
        ("//127.0.0.1/", "which is not a public address"),
        ("http://localhost/", "points to localhost, which is this machine"),
        ("http://10.0.0.1:9200/_all", "points to 10.0.0.1, which is not a public address"),
        ("https://hooks.example.com/new?token=secret", r"points to hooks.example.com: redirects"),
        ("https://93.184.216.34/", "which is a public address"),
        ("/elsewhere", "points to 127.0.0.1"),
        ("http://[::", "points to 127.0.0.1"),
        ("", "points to nowhere"),
        ("file:///etc/passwd", "redirects are not followed"),
        ("http://" + "x" * 5_000 + "/", "redirects are not followed"),
    ],
)
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_told_and_not_followed(receiver, status, location, says):
    with Receiver().running() as listener:
        receiver.says = [Says(status, headers={"Location": location.replace("{listener}", f"127.0.0.1:{listener.port}")})]

        error = refused(sink_to(receiver, allow_private=(f"127.0.0.1:{receiver.port}", f"127.0.0.1:{listener.port}")), says.replace(".", r"\."))
        assert "token" not in str(error)
        assert len(str(error)) < 400
        assert (len(receiver.posted), listener.posted) == (1, [])


def test_a_receiver_that_hangs_is_left_at_the_deadline(receiver):
    receiver.says = [Says(hangs=True)]
    began = time.monotonic()

    refused(sink_to(receiver), r"the webhook 127.0.0.1 did not answer within 0.4 s", WebhookUnavailable)
    assert 0.3 < time.monotonic() - began < 5


def test_a_byte_now_and_then_does_not_move_the_deadline(receiver):
    receiver.says = [Says(dribbles=True)]
    began = time.monotonic()

    refused(sink_to(receiver), "did not answer within 0.4 s", WebhookUnavailable)
    assert time.monotonic() - began < 5


def test_a_receiver_that_takes_nothing_in_is_left_too(monkeypatch):
    """It accepts, and never reads: what is sent fills the way to it."""
    monkeypatch.setattr(earmark.actions.webhook, "BODY_CHARACTERS_MAX", 10**9)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        port = server.getsockname()[1]
        settings = Webhook(mode="on", url=f"http://127.0.0.1:{port}/", secret=SECRET, allow_private=(f"127.0.0.1:{port}",), deadline_s=0.4)
        item = told(body=dumps({"state": "open", "much": "x" * 20_000_000}))
        with pytest.raises(WebhookUnavailable, match=r"did not answer within 0.4 s"):
            WebhookSink(settings=settings, secrets=NoSecrets).send(item)


def test_a_connection_that_is_cut_may_be_better_next_time(receiver):
    receiver.says = [Says(cuts=True)]

    refused(sink_to(receiver), "broke off before it had answered", WebhookUnavailable)


def test_nobody_there_may_be_somebody_later():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = Webhook(mode="on", url=f"http://127.0.0.1:{port}/", secret=SECRET, allow_private=(f"127.0.0.1:{port}",))
    with pytest.raises(WebhookUnavailable, match=r"the webhook 127.0.0.1 cannot be reached: .*refused"):
        WebhookSink(settings=settings, secrets=NoSecrets).send(told())


@pytest.mark.parametrize("status", [200, 500, 400])
def test_ten_megabytes_of_an_answer_are_not_read(receiver, status):
    receiver.says = [Says(status, b"x" * 10_000_000)]
    sink = sink_to(receiver, deadline_s=5)

    if status == 200:
        assert sink.send(told()) == "stored"
    else:
        assert str(refused(sink, f"answered {status}", (WebhookUnavailable, WebhookRefused))) == f"the webhook 127.0.0.1 answered {status}"
    time.sleep(0.05)
    assert receiver.said_all == 0


def test_thanks_are_thanks_though_their_body_never_comes(receiver):
    receiver.says = [Says(200, b"", {"Content-Length": "100"}, stays=True)]
    began = time.monotonic()

    assert sink_to(receiver, deadline_s=8).send(told()) == "stored"
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("answer", [b"", b"\x16\x03\x01\x02\x00", b"HTTP/2 200\r\n\r\n", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 " * 20_000, b"\r\n" * 9])
def test_what_is_no_answer_of_http_is_none(answer):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(1_000_000)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        settings = Webhook(mode="on", url=f"http://127.0.0.1:{port}/", secret=SECRET, allow_private=(f"127.0.0.1:{port}",), deadline_s=2)
        with pytest.raises(WebhookUnavailable, match="the webhook 127.0.0.1 (broke off|did not answer)"):
            WebhookSink(settings=settings, secrets=NoSecrets).send(told())
        thread.join()


# ------------------------------------------------------------------------------------------------ where it may be


@pytest.mark.parametrize(
    "address, says",
    [
        ("127.0.0.1", "webhook.url leads to hooks.example, which is 127.0.0.1, not a public address: it is not posted to; add hooks.example:{port} to webhook"),
        ("10.1.2.3", "not a public address"),
        ("::1", "not a public address"),
        ("fe80::1%eth0", "not a public address"),
        ("169.254.169.254", "which is the metadata service 169.254.169.254: that is never posted to"),
        ("fd00:ec2::254", "metadata service"),
        ("::ffff:169.254.169.254", "metadata service"),
        ("64:ff9b::a9fe:a9fe", "metadata service"),
    ],
)
def test_a_name_that_leads_inside_is_not_posted_to(receiver, address, says):
    asked = []

    def resolve(host, port):
        asked.append((host, port))
        return [address]

    settings = {"url": f"https://hooks.example:{receiver.port}/", "allow_private": (), "resolve": resolve}
    refused(sink_to(receiver, **settings), says.format(port=receiver.port))
    assert (asked, receiver.posted) == ([("hooks.example", receiver.port)], [])


def test_what_has_to_be_allowed_is_told_as_it_has_to_be_written():
    settings = Webhook(mode="on", url="https://[::1]:1/x", secret=SECRET)
    with pytest.raises(WebhookRefused, match=r"add (\S+) to webhook\.allow_private if that is meant") as caught:
        WebhookSink(settings=settings, secrets=NoSecrets).send(told())
    pair = str(caught.value).partition("add ")[2].partition(" ")[0]
    assert pair == "[::1]:1"
    with pytest.raises(WebhookUnavailable, match="cannot be reached"):
        WebhookSink(settings=settings.model_copy(update={"allow_private": (pair,)}), secrets=NoSecrets).send(told())


def test_a_metadata_service_is_not_posted_to_though_its_name_was_allowed(receiver):
    refused(sink_to(receiver, host="hooks.example", resolve=lambda _host, _port: ["169.254.169.254"]), "metadata service")


def test_a_name_that_changes_its_mind_is_judged_each_time(receiver):
    """Allowed by name, so that it may be this machine; by the second request it is a metadata service. Nobody looks twice for one request."""
    answers, asked = [["127.0.0.1"], ["169.254.169.254"]], []

    def resolve(host, port):
        asked.append(host)
        return answers.pop(0)

    sink = sink_to(receiver, host="hooks.example", resolve=resolve)
    assert sink.send(told()) == "stored"
    refused(sink, "metadata service")
    assert (asked, len(receiver.posted)) == (["hooks.example"] * 2, 1)
    assert receiver.posted[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_a_name_that_is_not_found_may_be_found_later(receiver):
    def resolve(host, port):
        raise OSError(-3, "Temporary failure in name resolution")

    refused(sink_to(receiver, host="hooks.example", resolve=resolve), "the host hooks.example cannot be found: Temporary failure", WebhookUnavailable)


def test_over_tls_the_certificate_is_the_names_whatever_address_it_leads_to(tmp_path):
    certificate, other = certificate_of("hooks.example", tmp_path), certificate_of("other.example", tmp_path)
    with Receiver(certificate.for_server()).running() as receiver:
        here = {"host": "hooks.example", "resolve": lambda _host, _port: ["127.0.0.1"], "deadline_s": 5}
        assert sink_to(receiver, tls=certificate.for_client(), **here).send(told()) == "stored"
        refused(sink_to(receiver, **here), "failed the TLS handshake: .*certificate", WebhookUnavailable)
        refused(sink_to(receiver, tls=other.for_client(), **here), "failed the TLS handshake", WebhookUnavailable)
        wrong = {**here, "host": "wrong.example"}
        refused(sink_to(receiver, tls=certificate.for_client(), **wrong), "failed the TLS handshake: .*(mismatch|match)", WebhookUnavailable)
        assert len(receiver.posted) == 1


def test_a_handshake_that_hangs_is_left():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = Webhook(mode="on", url=f"https://127.0.0.1:{port}/", secret=SECRET, allow_private=(f"127.0.0.1:{port}",), connect_timeout_s=0.2)
        with pytest.raises(WebhookUnavailable, match="the webhook 127.0.0.1 cannot be reached within 0.2 s"):
            WebhookSink(settings=settings, secrets=NoSecrets).send(told())


# ------------------------------------------------------------------------------------------------ one that fails is left alone


def test_one_that_fails_is_left_alone_for_longer_each_time_and_then_tried_once(receiver):
    clock = Clock()
    receiver.says = [Says(503)]
    sink = sink_to(receiver, clock=clock)
    waits = []
    for _ in range(9):
        refused(sink, "answered 503", WebhookUnavailable)
        waits.append(refused(sink, "is left alone for a while: the webhook 127.0.0.1 answered 503", WebhookUnavailable).retry_after_s)
        clock.time_s += waits[-1] + 0.001
    assert waits == [1, 2, 4, 8, 16, 32, PAUSE_S_MAX, PAUSE_S_MAX, PAUSE_S_MAX]
    assert len(receiver.posted) == 9
    receiver.says = [Says()]
    for _ in range(3):
        sink.send(told())
    assert len(receiver.posted) == 12


def test_while_one_tries_the_others_wait(receiver):
    clock = Clock()
    receiver.says = [Says(503), Says(after_s=0.3)]
    sink = sink_to(receiver, clock=clock, deadline_s=10)
    refused(sink, "503", WebhookUnavailable)
    clock.time_s += 2
    trying = threading.Thread(target=sink.send, args=(told(),))
    trying.start()
    receiver.wait_for(2)
    refused(sink, "is left alone for a while", WebhookUnavailable)
    trying.join()
    assert sink.send(told()) == "stored"


def test_time_that_it_asked_for_is_everybodys(receiver):
    clock = Clock()
    receiver.says = [Says(429, headers={"Retry-After": "100"}), Says()]
    sink = sink_to(receiver, clock=clock)
    refused(sink, "429", WebhookUnavailable)
    clock.time_s += 99
    assert refused(sink, "is left alone", WebhookUnavailable).retry_after_s == pytest.approx(1)
    clock.time_s += 2
    assert sink.send(told()) == "stored"


def test_one_that_is_gone_is_asked_once_an_hour(receiver):
    clock = Clock()
    receiver.says = [Says(410)]
    sink = sink_to(receiver, clock=clock)
    for _ in range(3):
        refused(sink, "answered 410: it wants no more hits")
        clock.time_s += GONE_S - 1
        refused(sink, "is left alone", WebhookUnavailable)
        clock.time_s += 2
    assert len(receiver.posted) == 3


def test_a_bug_of_ours_is_nothing_that_a_receiver_is_left_alone_for(receiver):
    sink = sink_to(receiver)
    with pytest.raises(json.JSONDecodeError):
        sink.send(told(body="no JSON"))
    assert sink.send(told()) == "stored"


# ------------------------------------------------------------------------------------------------ what it is signed with


def test_the_secret_may_be_in_secrets_manager_where_it_is_exchanged(receiver, aws):
    manager = aws.client("secretsmanager")
    arn = manager.create_secret(Name="webhook", SecretString=SECRET)["ARN"]
    clock = Clock()
    sink = sink_to(receiver, secret=arn, secrets=lambda: manager, clock=clock)
    sink.send(told())
    manager.put_secret_value(SecretId=arn, SecretString=f"{OTHER_SECRET}\n{SECRET}\n")
    sink.send(told())
    clock.time_s += SECRET_S
    sink.send(told())

    assert [len(posted.headers["webhook-signature"].split()) for posted in receiver.posted] == [1, 1, 2]
    assert Library(OTHER_SECRET).verify(receiver.posted[-1].body, dict(receiver.posted[-1].headers))


class Away:
    """Secrets Manager, which answers so many times."""

    def __init__(self, answers):
        self.answers = answers

    def get_secret_value(self, *, SecretId):  # noqa: N803 - boto3's name
        self.answers -= 1
        if self.answers < 0:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com")
        return {"SecretString": SECRET}


def test_while_secrets_manager_is_away_the_secret_is_what_it_was(receiver):
    clock, manager = Clock(), Away(1)
    sink = sink_to(receiver, secret=ARN, secrets=lambda: manager, clock=clock)
    for _ in range(3):
        assert sink.send(told()) == "stored"
        clock.time_s += SECRET_S
    assert manager.answers == -2
    refused(sink_to(receiver, secret=ARN, secrets=lambda: Away(0)), "secretsmanager:GetSecretValue of arn:.* got no answer", AwsUnavailable)


def test_a_secret_that_is_not_there_is_one_sentence(receiver, aws):
    sink = sink_to(receiver, secret=ARN, secrets=lambda: aws.client("secretsmanager"))

    refused(sink, "secretsmanager:GetSecretValue of arn:.* was refused: ResourceNotFoundException", AwsRefused)
    assert receiver.posted == []


@pytest.mark.parametrize("text", ["", "hunter2-hunter2", '{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}', "whsec_", f"{SECRET} " * 3])
def test_a_secret_that_is_none_is_told_without_it(receiver, aws, text):
    manager = aws.client("secretsmanager")
    arn = manager.create_secret(Name="webhook", **({"SecretString": text} if text else {"SecretBinary": b"\x00"}))["ARN"]

    error = refused(sink_to(receiver, secret=arn, secrets=lambda: manager), "the secret arn:.* holds", BadSettings)
    assert "hunter2" not in str(error)
    assert "MfKQ" not in str(error)


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8G", "whsec_" + "A" * 200, "whsec_not*base64*at*all*but*long*enough"])
def test_a_secret_that_is_too_short_or_none_is_refused(secret):
    with pytest.raises(ValueError, match=r"make one with: echo whsec_\$\(openssl rand -base64 32\)") as caught:
        signing_keys(secret, "webhook.secret")
    assert secret.removeprefix("whsec_")[:8] not in str(caught.value)


def test_base64_without_its_padding_is_a_secret_too():
    assert signing_keys(OTHER_SECRET.rstrip("="), "x") == signing_keys(OTHER_SECRET, "x") == (b"something else that is 32 bytes!",)


# ------------------------------------------------------------------------------------------------ through the outbox


class Results:
    def __init__(self):
        self.seen = []

    def published(self, *, target, result, seconds, delay_s=None):
        self.seen.append((target, result))

    def owed(self, *, waiting, dead, oldest_s):
        pass


def drained(pool, sinks, *, limit_s=20.0, **changes):
    results = Results()
    settings = Outbox.model_validate({"poll_s": 0.02, "retry_initial_s": 0.05, "retry_max_s": 0.05, **changes})
    Publisher(pool=pool, sinks=sinks, settings=settings, stop=threading.Event(), metrics=results).drain(limit_s=limit_s)
    return results.seen


def test_what_failed_is_tried_again_until_it_is_there_and_leaves_the_outbox(receiver, pool):
    with transaction(pool) as connection:
        samples.insert_stream(connection)
        enqueue(connection, told())
    receiver.says = [Says(500), Says(cuts=True), Says()]

    seen = drained(pool, {"webhook": sink_to(receiver)})
    assert seen[-1] == ("webhook", "sent")
    assert {posted.headers["webhook-id"] for posted in receiver.posted} == {f"{told().key}-1"}
    assert len(receiver.posted) == 3


def test_time_that_was_asked_for_is_kept_by_the_row_whoever_takes_it(receiver, pool):
    """Another worker knows nothing of the first one's answer, but for what stands with the row."""
    with transaction(pool) as connection:
        samples.insert_stream(connection)
        enqueue(connection, told())
    receiver.says = [Says(429, headers={"Retry-After": "100"}), Says()]

    assert drained(pool, {"webhook": sink_to(receiver)}, limit_s=0.3) == [("webhook", "failed")]
    assert drained(pool, {"webhook": sink_to(receiver)}, limit_s=0.3) == []
    with pool.connection() as connection:
        ((wait_s, error),) = connection.execute("select extract(epoch from due_at - now())::float8, last_error from outbox").fetchall()
    assert 90 < wait_s <= 100
    assert error == "the webhook 127.0.0.1 answered 429"


def test_a_receiver_that_is_down_wakes_nobody(receiver, pool):
    """What waits for S3 or SNS for half a minute does (HitsLate)."""
    with transaction(pool) as connection:
        samples.insert_stream(connection)
        enqueue(connection, told())
        connection.execute("update outbox set created_at = now() - interval '1 hour'")
        assert (owed(connection).waiting, owed(connection).oldest_s) == (1, 0)
        enqueue(connection, told(target="eventbridge"))
        connection.execute("update outbox set created_at = now() - interval '1 hour'")
        assert owed(connection).oldest_s >= 3_600


# ------------------------------------------------------------------------------------------------ every address that we know of


def test_no_form_of_a_forbidden_address_is_ever_posted_to():
    """The forms that playlists are tried with, as an operator might be talked into them: by the settings' check, or by what they resolve to."""
    stopped = {"by the settings": 0, "by the address": 0, "on the way": 0}
    tls = ssl.create_default_context()
    with world() as here:
        for form in forms():
            for url in {form.url, form.url.replace("http://", "https://", 1)}:
                here.resolving(form)
                try:
                    sink = WebhookSink(settings=Webhook(mode="on", url=url, secret=SECRET), secrets=NoSecrets, resolve=here._resolved, tls=tls)
                except ValueError:
                    stopped["by the settings"] += 1
                    continue
                with pytest.raises((WebhookRefused, WebhookUnavailable)) as caught:
                    sink.send(told())
                stopped["by the address" if isinstance(caught.value, WebhookRefused) else "on the way"] += 1
        assert (here.dialled, here.listener.count) == ([], 0)
    assert stopped["by the settings"] > 200
    assert stopped["by the address"] > 200
