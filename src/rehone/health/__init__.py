"""Say how the pipeline itself does: its failures, its times, its alarms, its breaker; pure."""

from rehone.health.breaker import breaker, lost_in_a_row

__all__ = ["breaker", "lost_in_a_row"]
