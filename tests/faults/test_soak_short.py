"""A soak of a minute, seeded: workers are killed, paused and asked to go, the proxies misbehave; nothing is lost, nothing there twice."""

import os
from pathlib import Path

from faults.circumstances import Circumstances
from faults.soak import Soak
from faults.table import broken, figures

#: SEED=... repeats another run.
SEED = int(os.environ.get("SEED") or 5)


def test_a_minute_under_faults(tmp_path: Path) -> None:
    asked = Circumstances(seed=SEED, minutes=0.5, workers=4, streams=5, music_s=18, recordings=4, taken_s=12, black_out_every_s=40, outage_every_s=10)
    with Soak(asked, folder=tmp_path) as soak:
        evidence = soak.run()
        faults = soak.injected.total
    rows, wrong = figures(evidence, asked, faults=faults, command="")
    # What may not happen at all. How long something takes, and shares of a minute, are for `make soak`.
    assert [row["figure"] for row in broken(rows) if row["bar"] == 0] == [], f"again: SEED={SEED} pytest {__file__}; {wrong}"
    done = {row["figure"]: row["value"] for row in rows}
    assert done["SIGKILLs"] >= 5
    assert faults >= 20
    assert len(evidence.plays) >= 5
    assert evidence.messages
