"""Decide what a person is told of, in one line each; pure."""
