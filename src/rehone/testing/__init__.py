"""Simulate streams of rows whose odds are known, to test what decides and judges."""
