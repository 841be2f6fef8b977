"""HTTP to addresses that were checked, with a limit to everything: what streams and webhooks have in common."""
