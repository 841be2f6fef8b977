"""Python imports this first, when its folder is on PYTHONPATH: streams of the canary go on air five times as fast as they would be played."""

from earmark.canary.round import Round

Round.__init__.__kwdefaults__["pace"] = 5.0
