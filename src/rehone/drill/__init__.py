"""Sabotage the gate on purpose, and report what it caught."""
