"""Postings to plays; pure."""
