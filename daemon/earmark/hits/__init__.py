"""How a hit leaves."""
