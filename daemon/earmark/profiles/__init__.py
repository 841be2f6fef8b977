"""What a recording is like: its loudness, how much of it sounds, what of that is music and what speech, its tempo and its key."""
