"""What child processes of tests/integration/test_isolation.py run: functions of a module, because they are named to another process."""

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from earmark.control.leases import Ended, HandedOver, Outcome
from earmark.errors import LeaseLost, SourceUnsupported
from earmark.isolation import FarMetrics, Link, attended, expendable
from earmark.model import Lease
from earmark.session import Meter, Signals, Stop

NAP_S = 60.0


def child(how: str, folder: str, lease: Lease, connection: Connection) -> None:
    """Does to itself what `how` says; its process id goes into a file first."""
    expendable()
    Path(folder, "pid").write_text(str(os.getpid()), encoding="ascii")
    if how == "never begins":
        os._exit(3)
    if how == "begins late":
        time.sleep(NAP_S)
    link = Link(connection)
    link.attend(alive=lambda: how != "stuck")
    meter = cast(Meter, FarMetrics(link))

    def listen(_lease: Lease, signals: Signals) -> Outcome:
        return _listen(how, signals, link, meter)

    attended(link, lease, listen)


def _listen(how: str, signals: Signals, link: Link, meter: Meter) -> Outcome:
    match how:
        case "ends":
            meter.heard(media_s=2.0, lag_s=0.5, clock_lag_s=None)
            link.say("nudge")
            return Ended("endlist")
        case "dies" | "exits":
            os.kill(os.getpid(), signal.SIGKILL) if how == "dies" else os._exit(3)
        case "stuck":
            time.sleep(NAP_S)
        case "bug":
            raise KeyError("x")
        case "refused":
            raise SourceUnsupported("there is no audio in it")
        case "waits":
            while not signals.stop:
                if signals.wait(NAP_S):
                    link.say("told", "woken")
            if signals.stop is Stop.LOST:
                raise LeaseLost("somebody else has it")
        case "hears":
            while not signals.stop:
                meter.heard(media_s=6.0, lag_s=None, clock_lag_s=None)
                signals.wait(0.01)
    return HandedOver()
