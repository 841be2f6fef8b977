"""`earmark canary`: one round, and how it went, in one sentence."""

import getpass
import json
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from earmark import postgres
from earmark.aws import Clients
from earmark.canary.role import Runner
from earmark.canary.rounds import Outcome, UnderWay
from earmark.errors import BadSettings, Transient
from earmark.hits.text import one_line
from earmark.settings import Settings

#: How each stage is told.
_STAGES: Final = {
    "written": "its stream was in S3 after {:.1f} s",
    "claimed": "claimed after {:.1f} s",
    "heard": "heard after {:.1f} s",
    "hit": "its hit in S3 after {:.1f} s",
    "ended": "closed after {:.1f} s",
}


def one_round(*, as_json: bool, settings: Settings) -> int:
    """1 if it was not heard. Raises BadSettings, DatabaseUnavailable, SchemaMismatch, FingerprintMismatch; Transient while another round is under way."""
    if not settings.database.dsn.get_secret_value():
        raise BadSettings("the canary is heard by daemons, which share a database: set database.dsn, or EARMARK_DATABASE__DSN, as theirs is")
    with postgres.open_pool(settings.database, application_name="earmark-canary") as pool:
        postgres.check(pool)
        done = Runner(settings=settings, pool=pool, s3=Clients(settings.aws).s3, name=_runner(), stop=threading.Event()).round()
    if not isinstance(done, tuple):
        raise Transient(_busy(done))
    round_id, outcome = done
    if as_json:
        print(json.dumps({"round_id": round_id, **asdict(outcome)}, ensure_ascii=False))
    else:
        print(_sentence(outcome), file=sys.stdout if outcome.heard else sys.stderr)
    return 0 if outcome.heard else 1


def _runner() -> str:
    user = ""
    with suppress(OSError, KeyError):  # a container's number need not have a name
        user = getpass.getuser()
    return f"earmark canary of {user or 'somebody'} on {socket.gethostname()}"


def _busy(other: UnderWay | None) -> str:
    whose = f"of {one_line(other.runner, 80)}, for {other.age_s:.0f} s" if other else "of somebody else"
    return f"a round of the canary is under way ({whose}), and there is one at a time: try again in a minute"


def _sentence(outcome: Outcome) -> str:
    """Success in one sentence; failure as other errors are told."""
    stages = ", ".join(_STAGES[stage].format(seconds) for stage, seconds in outcome.stages_s.items())
    if not outcome.heard:
        return f"earmark: the canary was not heard ({outcome.result}): {outcome.says}{f' ({stages})' if stages else ''}"
    sure = f"with {outcome.score_nats:.0f} nats" if outcome.score_nats is not None else ""
    late = f", {outcome.latency_s:.1f} s behind the recording's first second on air" if outcome.latency_s is not None else ""
    return f"the canary was heard {sure}{late}: {stages}"
