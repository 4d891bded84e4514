"""Print figures of runs for Prometheus, and what Grafana and Prometheus are set up with."""

from __future__ import annotations

import click

from rehone.cli import endings
from rehone.cli.options import project_option


@click.command()
@project_option
@click.option("--grafana", "what", flag_value="grafana", help="Print a Grafana dashboard (JSON) instead.")
@click.option("--rules", "what", flag_value="rules", help="Print alert rules of Prometheus (YAML) instead.")
def metrics(project: str, what: str | None) -> int:
    """Print figures of the runs in Prometheus' text format, as metrics.textfile and metrics.pushgateway get them."""
    from rehone.integrations import prometheus

    click.echo(prometheus.printed(project, what), nl=False)
    return endings.GOOD
