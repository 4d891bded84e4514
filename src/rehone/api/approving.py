"""Answer a challenger that waits for a person."""

from __future__ import annotations

from collections.abc import Callable

from rehone.api.door import Where, config_of, door_of, user
from rehone.api.telling import told
from rehone.errors import RehoneError
from rehone.records import Event, RunRecord


def approve(
    project: Where, run: str, *, because: str = "", by: str | None = None, listen: Callable[[Event], None] | None = None
) -> RunRecord:
    """Let the challenger of a run that waits go live, and return the record of the run.

    What goes live is the version that was judged. Where another one has gone live since, it is judged
    again first, on the same held-out rows, against that one; then the gate may refuse it.

    Args:
        run: id of the run, its unique beginning, or its name.
        because: why, kept in the record.
        by: who answers; left out: the user of this process.
        listen: is told of the deployment as it starts, gets on and ends.

    Raises:
        NotFound: there is no such run.
        StoreError: the run does not wait; or the approval was interrupted, and may be given again.
        ConfigError: the challenger was judged by another configuration.
        Locked: another run or answer is under way.
    """
    from rehone import pipeline

    config = config_of(project)
    answer = pipeline.Answer(by=by or user(), because=because)
    return told(config, pipeline.approve(config, door_of(config, run, listen), answer))


def reject(project: Where, run: str, *, because: str, by: str | None = None) -> RunRecord:
    """Refuse the challenger of a run that waits, and return the record of the run, which ends as rejected.

    Args:
        run: id of the run, its unique beginning, or its name.
        because: why, kept in the record.
        by: who answers; left out: the user of this process.

    Raises:
        NotFound: there is no such run.
        RehoneError: no reason is given.
        StoreError: the run does not wait.
        Locked: another run or answer is under way.
    """
    from rehone import pipeline

    if not because.strip():
        raise RehoneError("say why it is rejected: the reason is kept in the record of the run")
    config = config_of(project)
    answer = pipeline.Answer(by=by or user(), because=because)
    return told(config, pipeline.reject(config, door_of(config, run, None), answer))
