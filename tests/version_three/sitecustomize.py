"""Python imports this first, when its folder is on PYTHONPATH: such processes are of an Earmark that makes another version of the fingerprint."""

from another_fingerprint import become

become()
