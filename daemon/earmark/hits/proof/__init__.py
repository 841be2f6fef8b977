"""What proves a hit, and lies beside it."""
