"""Serve the pages live: read-only, on loopback, behind a token elsewhere."""
