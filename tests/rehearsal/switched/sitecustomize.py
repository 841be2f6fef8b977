"""Python imports this first, when its folder is on PYTHONPATH: SIGUSR2 then switches all counting of this process off, and on again."""

from rehearsal.switching import arm

arm()
