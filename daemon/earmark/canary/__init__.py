"""A stream of our own, with a known recording in it, goes through everything that a stream goes through, again and again."""
