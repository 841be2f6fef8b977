"""Everything by which a run can be repeated: its seed, how long it is, and how much trouble there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faults.fleet import Temper
from faults.schedule import Kind, Odds

_AWS = Odds(percent={"delay": 3, "reset": 1, "refuse": 1.5, "throttle": 1.5, "expire": 1, "hole": 0.3, "half": 0.5, "forget": 0.5})
#: An answer of SNS that is lost is a message that comes again, which no sender can help: seldom, so that the share means something.
_SNS = Odds(percent={"delay": 3, "reset": 2, "refuse": 3, "throttle": 3, "expire": 1, "hole": 0.5, "half": 0.1, "forget": 0.1})
_ORIGIN = Odds(percent={"delay": 3, "reset": 1.5, "refuse": 2, "hole": 0.4, "half": 1.5}, hole_s=(0.5, 2.5))
#: Of pieces of traffic, of which a daemon sends some dozens a second.
_POSTGRES = Odds(percent={"delay": 0.1, "reset": 0.03, "hole": 0.01, "half": 0.02, "forget": 0.03}, delay_s=(0.02, 0.4), hole_s=(0.5, 3.0))
ODDS: Mapping[str, Odds] = {"s3": _AWS, "sqs": _AWS, "ivs": _AWS, "sns": _SNS, "playlist": _ORIGIN, "segment": _ORIGIN, "postgres": _POSTGRES}
TEMPER = Temper(percent={"crash": 76, "kill": 8, "pause": 8, "stop": 8})
#: What fails for some seconds as a whole, and how; PostgreSQL's connections are broken at once, as in a fail-over.
OUTAGES: Sequence[tuple[tuple[str, ...], tuple[Kind, ...]]] = (
    (("s3",), ("refuse", "expire", "gone", "throttle")),
    (("sns",), ("refuse", "expire", "gone", "throttle")),
    (("sqs", "ivs"), ("refuse", "expire", "throttle", "reset")),
    (("playlist", "segment"), ("refuse", "reset")),
    (("postgres",), ("reset",)),
)


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Everything by which a run can be repeated."""

    seed: int
    minutes: float
    workers: int = 8
    lease_s: float = 2.0
    #: On air at any time.
    streams: int = 16
    #: Seconds between two outages, and between two times that every worker is dead.
    outage_every_s: float = 15.0
    black_out_every_s: float = 90.0
    music_s: float = 26.0
    recordings: int = 6
    odds: Mapping[str, Odds] = field(default_factory=lambda: dict(ODDS))
    temper: Temper = TEMPER
    #: After the faults have ended, for all that is on its way.
    settle_s: float = 150.0
    #: How long a row of the outbox is one publisher's; the daemon's own is a minute.
    taken_s: float | None = None
    poison: bool = False
    #: Constants of the daemon's modules that are other ones here.
    constants: Mapping[str, float] = field(default_factory=dict)
    #: Settings of the daemon that are other ones here.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Deliver each event once and at once.
    events_reliable: bool = False
    #: Keep what the proxies saw, for the audit.
    remember: bool = True
