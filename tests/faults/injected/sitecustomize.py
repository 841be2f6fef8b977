"""Python imports this first, when its folder is on PYTHONPATH: processes that a daemon starts obey their daemon's plan."""

from faults.crash_points import arm_from_environment

arm_from_environment()
