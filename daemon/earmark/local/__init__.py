"""The desk: everything that production has elsewhere, on one machine."""
