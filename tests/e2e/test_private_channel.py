"""A private IVS channel from its event to its hit: the key is a secret of the stand-in's, the origin holds every token to what IVS does."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from audio_origin import Answer, Asked
from audio_origin import Origin as Scripted
from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from playback_tokens import Gate, new_key, pem_of
from service_daemon import catalogued, documents, log_lines, programme, rows, until

STREAM_ID = "st-private"


class Guarded(Scripted):
    """Serves the master of a broadcast to who has a token; what it lists lies elsewhere."""

    def guard(self, gate: Gate, master: str) -> None:
        self._gate, self._master = gate, master

    def answer(self, asked: Asked) -> Answer:
        if urlsplit(asked.path).path != "/private.m3u8" or not self._gate.opens(asked.path):
            return Answer(status=403)
        return Answer(self._master.encode())


def test_a_private_channel_is_heard_with_a_token_for_each_opening(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (samples,) = catalogued(dsn)
    deployed, key = aws.deploy(), new_key()
    secret = aws.client("secretsmanager").create_secret(Name="playback", SecretString=pem_of(key))["ARN"]
    channel_arn = aws.put_channel("members-only", private=True)
    gate = Gate(key.public_key(), channel_arn)
    with Origin() as origin, Guarded().running() as guarded:
        environment = {
            **deployed.environment(),
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": json.dumps([origin.address, guarded.host]),
            "EARMARK_IVS__PLAYBACK_KEY": secret,
            "EARMARK_IVS__SINGLE_USE": "true",
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_SESSION__END_GRACE_S": "2",
        }
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
            broadcast = origin.publish(STREAM_ID, programme(samples, begin_s=20, music_s=16), rate_hz=music.RATE_HZ)
            folder = broadcast.url.rpartition("/")[0]
            guarded.guard(gate, f'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"\n{folder}/audio/media.m3u8\n')
            aws.go_live(channel_arn, STREAM_ID, guarded.url("/private.m3u8"))
            aws.put_stream_event(channel_arn, STREAM_ID, "Stream Start")
            until(lambda: rows(dsn, "select from play where state = 'open'"), "the recording is on record", worker)
            aws.put_stream_event(channel_arn, STREAM_ID, "Stream End")
            until(lambda: rows(dsn, "select from stream where state = 'ended'"), "the session has ended", worker)
            until(lambda: not rows(dsn, "select from outbox"), "everything has left", worker)
    assert len(gate.tokens) == len(set(gate.tokens)) >= 1
    assert gate.refused == [], "each is used once, in time, and signed by the key in the secret"
    (ended,) = rows(dsn, "select end_reason, last_error, checkpoint->>'rendition' as rendition from stream")
    assert ended["last_error"] == ""
    assert ended["rendition"] == "audio only, 64 kbit/s, mp4a.40.2"
    hits = [document for name, document in documents(aws, deployed).items() if "/hits/" in name]
    assert [hit["reference"]["track_id"] for hit in hits] == [music.catalogue(1)[0].track.track_id]
    said = "".join(json.dumps(line) for line in log_lines(tmp_path / "daemon.log"))
    assert not [token for token in gate.tokens if token in said], "no token is in the log"
