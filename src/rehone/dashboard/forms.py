"""Read the few fields of a form, within bounds of size and time."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from rehone.dashboard.sessions import Visitor

LARGEST = 20_000
SECONDS = 10.0


async def fields(request: Request) -> Mapping[str, str]:
    """Return the fields of a form.

    Raises:
        HTTPException: it is too large, comes too slowly, or is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "send a form: application/x-www-form-urlencoded")
    body = b""
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    raise HTTPException(413, f"a form holds at most {LARGEST:,} bytes")
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except TimeoutError:
        raise HTTPException(408, f"the form did not come within {SECONDS:g} s") from None
    except (ClientDisconnect, ValueError):
        raise HTTPException(400, "this is not a form") from None


def is_own_form(given: Mapping[str, str], visitor: Visitor) -> bool:
    """Say whether a form was made for this visitor; a program that sends the token needs none."""
    return hmac.compare_digest(given.get("token", "").encode(), visitor.form_token.encode()) or not visitor.form_token
