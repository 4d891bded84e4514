"""Clean up beside the records after a run whose gate judged; what goes by the rule is named in its record first."""

from __future__ import annotations

import logging

from rehone.errors import RehoneError
from rehone.pipeline.scene import Scene
from rehone.records import RunRecord
from rehone.runlog.clearing import Clearance

log = logging.getLogger(__name__)

FAILED = "clean-up beside the records failed"


def foreseen(scene: Scene) -> Clearance | None:
    """Note in the record which runs are to be cleared once it is closed; `None` where its gate judged nothing."""
    record, keep = scene.draft.record, scene.config.deploy.keep_judged
    if record.judged is None:
        return None
    try:
        found = Clearance.of(scene.config, scene.runlog.lines())
        needed = {version.manifest.run_id for version in scene.store.versions()}
        scene.draft.note(cleared=() if keep is None else found.superfluous(keep, needed))
    except (RehoneError, OSError):  # what stays behind does no harm
        log.warning(FAILED, exc_info=True, extra={"run_id": record.run_id})
        return None
    return found


def carry_out(clearance: Clearance | None, record: RunRecord) -> None:
    """Remove what the closed record says is cleared, and what killed runs left; killed here, the next run does it."""
    if clearance is None:
        return
    try:
        clearance.clear(record.cleared)
        clearance.sweep()
    except (RehoneError, OSError):  # what stays behind does no harm
        log.warning(FAILED, exc_info=True, extra={"run_id": record.run_id})
