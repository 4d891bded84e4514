"""Try a version in a fresh process, before anything in production hears of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rehone.codec import decode, encode
from rehone.config import Deploy
from rehone.deploy.fresh import Request
from rehone.errors import Corrupt
from rehone.records import Check, CheckStatus, short_id
from rehone.store import Store

LONGEST_LAST_WORDS = 500


def preflight(store: Store, version: str, policy: Deploy) -> tuple[Check, ...]:
    """Load a version in a fresh process, reproduce its golden rows and measure its latency.

    Whatever goes wrong there, a crash or a process that does not end, is a check that acts.
    """
    request = Request(
        store=str(store.root.absolute() if isinstance(store.root, Path) else store.root),
        storage=dict(store.disk.settings),
        version=version,
        policy=policy.model_dump(mode="json"),
        path=tuple(sys.path),
    )
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "rehone.deploy.fresh"],
            input=encode(request),
            capture_output=True,
            timeout=policy.preflight_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (_too_slow(version, policy),)
    except OSError as error:
        return (_act(f"a fresh process could not be started ({error})", "look at memory and process limits"),)
    if child.returncode != 0:
        return (_ended(version, child),)
    try:
        return decode(child.stdout, tuple[Check, ...], source="the answer of the fresh process")
    except Corrupt as error:
        return (_act(str(error), "a library prints into it; see the log"),)


def _too_slow(version: str, policy: Deploy) -> Check:
    limit = policy.preflight_seconds
    return Check(
        name="preflight",
        status=CheckStatus.ACT,
        value=limit,
        limit=limit,
        detail=f"version {short_id(version)} was not loaded and proved by a fresh process within {limit:g} s",
        remedy="raise deploy.preflight_seconds, or train a smaller model",
    )


def _ended(version: str, child: subprocess.CompletedProcess[bytes]) -> Check:
    words = child.stderr.decode("utf-8", "replace").strip()[-LONGEST_LAST_WORDS:]
    code = child.returncode
    how = f"was killed by signal {-code} (9 is often a lack of memory)" if code < 0 else f"ended with code {code}"
    return _act(
        f"the fresh process that loaded version {short_id(version)} {how}: {words or 'it said nothing'}",
        "load the version yourself with `rehone.load` to see more",
    )


def _act(detail: str, remedy: str) -> Check:
    return Check(name="preflight", status=CheckStatus.ACT, detail=detail, remedy=remedy)
