"""Say how the pipeline itself does: its failures, its times, its alarms, its breaker; pure."""
