"""Python imports this first, when its folder is on PYTHONPATH: a daemon under measurement says what it does, and does the same.

Its threads carry their names where /proc shows them; each segment's lag is noted with its stream; and the processor time of
stages is counted, each without the stages that it calls. LIVE_PROFILE=1 samples what its threads compute, too. All of it goes to files in
LIVE_OBSERVED, see `bench.live_observing`.
"""

import os

if os.environ.get("LIVE_OBSERVED"):
    from bench.live_observing import observe

    observe(os.environ["LIVE_OBSERVED"], stages=os.environ.get("LIVE_STAGES") != "0", profile=os.environ.get("LIVE_PROFILE") == "1")
