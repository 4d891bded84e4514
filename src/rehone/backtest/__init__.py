"""Replay a project's history day by day under several policies."""
