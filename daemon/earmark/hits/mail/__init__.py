"""What people get by mail, and programs with it: one message a play, and one at the end."""
