"""Ask one address over HTTP, and say what went wrong without what is secret in it."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import urlsplit

from rehone import __version__
from rehone.integrations.alerts.address import Unsent


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request: `key` holds its address in `rehone.toml`; with a `body` it is a POST, else a GET.

    `hints` says by code what to make of an answer that is none of 2xx.
    """

    url: str
    key: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[int, str] = field(default_factory=dict)


def ask(question: Question, seconds: float) -> None:
    """Send a request; it is taken when the answer is 2xx. A redirect is not followed.

    Raises:
        Unsent: it was not taken; the host is named, and nothing that follows it.
    """
    split = urlsplit(question.url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise Unsent(f"{question.key} is no http or https address")
    where = f"{split.scheme}://{split.netloc.rpartition('@')[2]}"
    headers = {"User-Agent": f"rehone/{__version__}", **question.headers}
    request = urllib.request.Request(question.url, data=question.body, headers=headers)  # noqa: S310 - http or https, see above
    try:
        with _OPENER.open(request, timeout=seconds):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise Unsent(f"{where} answered HTTP {error.code}{_hint(question, error.code)}") from None
    except urllib.error.URLError as error:
        raise Unsent(f"{where} cannot be reached ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unsent(f"{where} cannot be reached ({type(error).__name__})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Answer a redirect as the error that it is: a request goes where it was meant to go, or nowhere."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow none."""
        del req, fp, code, msg, headers, newurl


_OPENER = urllib.request.build_opener(_NoRedirect)


def _hint(question: Question, code: int) -> str:
    if 300 <= code < 400:
        return f", a redirect, which is not followed: name the address itself in {question.key}"
    return question.hints.get(code, "")


def _reason(reason: object) -> str:
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)[:120]
