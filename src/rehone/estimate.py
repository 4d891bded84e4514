"""Estimate how good decisions are from calibrated scores alone, before any label."""
