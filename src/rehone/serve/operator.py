"""Let an operator who knows a token reload what is served, or pin it to a version of the store."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from rehone.config import Config
from rehone.errors import ArtifactError, ConfigError, Corrupt, NotFound, RehoneError, SigningError
from rehone.serve.follower import Follower, Serving
from rehone.serve.http import Answer, Handler, Request, Route, error, read, refused, said
from rehone.serve.problems import Refusal

log = logging.getLogger(__name__)

SHORTEST_TOKEN: Final = 16
LONGEST_TOKEN: Final = 4096
LARGEST_BODY: Final = 1000
BODY_SECONDS: Final = 5.0

_TOKEN: Final = re.compile(rb"[!-~]+")
_VERSION: Final = re.compile(r"[0-9a-f]{1,64}")
_CHALLENGE: Final = ((b"content-type", b"application/json"), (b"www-authenticate", b'Bearer realm="rehone"'))


def read_token(config: Config) -> bytes | None:
    """Return the token of `serve.token_file`, without the white space around it; `None` when no file is named.

    Raises:
        ConfigError: the file cannot be read, others than its owner and its group can read it, or
            what is in it is no token.
    """
    if config.serve.token_file is None:
        return None
    return token_in(config.root / config.serve.token_file, "serve.token_file")


def token_in(path: Path, key: str) -> bytes:
    """Return the token in a file that `key` names.

    Raises:
        ConfigError: as `read_token`.
    """
    try:
        return _checked(path, _read_closed(path).strip())
    except _Unusable as wrong:
        raise ConfigError(key, [str(wrong)]) from None


class _Unusable(Exception):
    """What is wrong with a file of a token."""


def _read_closed(path: Path) -> bytes:
    try:
        mode, text = _read(path)
    except OSError as failed:
        raise _Unusable(f"{path} cannot be read ({failed.strerror}): {_MAKE_ONE}") from None
    if not stat.S_ISREG(mode):
        raise _Unusable(f"{path} is not a file: {_MAKE_ONE}")
    if mode & 0o027:
        raise _Unusable(f"{path} has mode {mode & 0o777:04o}, so that others can use it: `chmod 600 {path}`")
    return text


_MAKE_ONE: Final = "make one with `(umask 077; openssl rand -hex 32 > FILE)`, or leave token_file out"


def _read(path: Path) -> tuple[int, bytes]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe of that name must not hold up the start
    try:
        mode = os.fstat(handle).st_mode
        return mode, os.read(handle, LONGEST_TOKEN + 1) if stat.S_ISREG(mode) else b""
    finally:
        os.close(handle)


def _checked(path: Path, token: bytes) -> bytes:
    if len(token) < SHORTEST_TOKEN:
        raise _Unusable(f"the token in {path} has {len(token)} characters, at least {SHORTEST_TOKEN}: {_MAKE_ONE}")
    if len(token) > LONGEST_TOKEN:
        raise _Unusable(f"the token in {path} is longer than {LONGEST_TOKEN} characters: {_MAKE_ONE}")
    if not _TOKEN.fullmatch(token):
        raise _Unusable(f"the token in {path} has characters that no header can carry, or several lines: {_MAKE_ONE}")
    return token


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    version: str


def routes(follower: Follower, token: bytes) -> dict[str, Route]:
    """Return the operator's endpoints; each answers 401 to whoever does not send the token."""

    async def reload(_request: Request) -> Answer:
        follower.wake()
        log.info("reload asked by an operator")
        return said({"looking": True} | _facts(follower.now), 202)

    async def show(_request: Request) -> Answer:
        return said(_facts(follower.now))

    async def pin(request: Request) -> Answer:
        version = await _wanted(request)
        if isinstance(version, Refusal):
            return refused(version)
        try:
            await asyncio.to_thread(follower.pin, version)
        except (OSError, RehoneError) as failed:
            log.warning("pin refused", extra={"version": version, "because": str(failed)})
            return error(_status(failed), f"{failed}; what is served stays")
        log.warning("pinned by an operator", extra={"version": follower.now.pinned})
        return said(_facts(follower.now))

    async def unpin(_request: Request) -> Answer:
        await asyncio.to_thread(follower.unpin)
        log.warning("unpinned by an operator")
        return said(_facts(follower.now))

    pins = {"GET": show, "POST": pin, "DELETE": unpin}
    return {
        "/operator/pin": {method: _guarded(handler, token) for method, handler in pins.items()},
        "/operator/reload": {"POST": _guarded(reload, token)},
    }


def _guarded(handler: Handler, token: bytes) -> Handler:
    async def guarded(request: Request) -> Answer:
        scheme, _, given = (request.header(b"authorization") or b"").partition(b" ")
        if not hmac.compare_digest(given.strip(), token) or scheme.lower() != b"bearer":
            log.warning("operator not known", extra={"path": request.path})
            sentence = Refusal(status=401, error="send the operator's token as `Authorization: Bearer TOKEN`")
            return Answer(401, refused(sentence).body, _CHALLENGE, last=True)
        return await handler(request)

    return guarded


async def _wanted(request: Request) -> str | Refusal:
    """Read which version is meant: a version of the store and never a path."""
    body = await read(request, LARGEST_BODY, BODY_SECONDS)
    if isinstance(body, Refusal):
        return body
    try:
        version = msgspec.json.decode(body, type=_Wish).version
    except msgspec.DecodeError as failed:
        return Refusal(status=400, error=f'send {{"version": "<id or its beginning>"}} ({failed})')
    if not _VERSION.fullmatch(version):
        return Refusal(status=400, error="a version is 1 to 64 hexadecimal digits, as `rehone history` shows them")
    return version


def _status(failed: Exception) -> int:
    if isinstance(failed, NotFound):
        return 404
    if isinstance(failed, Corrupt | ArtifactError | SigningError):
        return 422
    return 503 if isinstance(failed, OSError) or isinstance(failed.__cause__, OSError) else 409


def _facts(serving: Serving) -> dict[str, Any]:
    return {
        "pinned": serving.pinned,
        "version": serving.loaded.version if serving.loaded else None,
        "generation": serving.generation,
        "trouble": serving.trouble,
        "pid": os.getpid(),
    }
