"""Write what runs were as Prometheus metrics: to a textfile, or to a Pushgateway.

`MetricsListener` is told after each run, in the process that tells one listener; `printed` gives a person the same
figures, and what Grafana and Prometheus are set up with.
"""

from rehone.integrations.prometheus.listener import MetricsListener, printed

__all__ = ["MetricsListener", "printed"]
