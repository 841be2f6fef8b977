"""Samples in, plays out: window -> look-up -> alignment -> verification -> plays. One path for everything that hears.

A live session, `identify` and a notebook's monitor all drive a `Hearing`. It does no IO: `push` is a generator
that yields a `Question` to the catalogue and is sent the `Answer`, as psycopg's generators yield "I would block here",
so whoever drives it decides on which thread the computing and the waiting are done.
"""
