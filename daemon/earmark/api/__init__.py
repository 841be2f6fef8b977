"""The HTTP API: who may ask, what is asked, and how much of it at once."""
