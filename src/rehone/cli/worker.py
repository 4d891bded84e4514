"""Be one worker of a service: `python -m rehone.cli.worker SOCKET TIE`, started by `rehone serve`."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

from rehone.cli import endings, service
from rehone.config import Config
from rehone.errors import RehoneError

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Serve on the descriptors that were inherited; return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        config, logging_, path = service.heard(sys.stdin.buffer.read())
        sys.path[:] = path
        logging_.begin()
        _work(config, *map(int, arguments))
    except endings.Terminated:
        return endings.TERMINATED
    except RehoneError as error:
        log.critical("worker ended", extra={"because": str(error)})
        return endings.MUST_FIX
    except Exception:  # the outermost door of this process: what nobody planned is logged
        log.exception("worker ended by a bug")
        return endings.BUG
    return endings.GOOD


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise endings.Terminated


def _work(config: Config, listener: int, descriptor: int) -> None:
    from rehone.serve import run
    from rehone.serve.workers import Tie, inherited

    tie = Tie(descriptor, config.serve.drain_seconds)
    tie.watch()
    run(config, clock=service.now, on_ready=lambda _url: tie.tick(), shared=inherited(listener))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
