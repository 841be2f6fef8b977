"""What is done about a play, beyond telling of it: each off by default, told first, done once, counted, and on record in the hit."""
