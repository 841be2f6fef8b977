"""Samples to landmarks; pure."""
