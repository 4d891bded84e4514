"""Write the description of the service as one HTML page, which needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

SECURITY: Final = (
    b"content-security-policy",
    (
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)
"""The header that keeps the page to itself."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6672; --line: #d9dee3; --paper: #fff; --shade: #f4f6f8;
  --good: #176b3a; --bad: #a12622; --accent: #1f5f99 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe4e9; --soft: #98a3ae; --line: #343b43; --paper: #14181c; --shade: #1d2329;
    --good: #6cc490; --bad: #f0948f; --accent: #86bbe8 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem }
h3 { font-size: 1rem; margin: 0 }
p { margin: .4rem 0; color: var(--soft); overflow-wrap: anywhere }
code, pre, textarea { font: .875rem/1.5 ui-monospace, monospace }
pre, textarea { width: 100%; margin: .5rem 0; padding: .75rem; overflow: auto; background: var(--shade); color: var(--ink);
  border: 1px solid var(--line); border-radius: 6px; overflow-wrap: anywhere; white-space: pre-wrap }
textarea { min-height: 9rem; resize: vertical }
article { margin: 0 0 .75rem; border: 1px solid var(--line); border-radius: 8px }
article > details > summary { padding: .7rem 1rem; cursor: pointer; display: flex; flex-wrap: wrap; gap: .2rem .75rem;
  align-items: baseline; list-style: none }
summary::-webkit-details-marker { display: none }
summary::before { content: "\\25b8"; color: var(--soft); width: .8rem }
details[open] > summary::before { content: "\\25be" }
summary code { min-width: 0; overflow-wrap: anywhere }
article > details > div { padding: 0 1rem 1rem }
article > details > div, .wide { overflow-x: auto }
.method { font-weight: 700; color: var(--accent); min-width: 3rem }
.what { color: var(--soft); font-weight: 400 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: .925rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600 }
td { overflow-wrap: break-word }
td:first-child { overflow-wrap: anywhere; min-width: 5rem }
button { font: inherit; font-weight: 600; padding: .45rem 1.1rem; border: 1px solid var(--accent); border-radius: 6px;
  background: var(--accent); color: var(--paper); cursor: pointer }
button:focus-visible, summary:focus-visible, textarea:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.good { color: var(--good) } .bad { color: var(--bad) }
"""
_SCRIPT: Final = """
const form = document.getElementById("ask"), said = document.getElementById("said");
form.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "waiting";
  said.className = "";
  try {
    const answer = await fetch("predict", {method: "POST", body: form.rows.value,
      headers: {"content-type": "application/json", "x-rehone-probe": "1"}});
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch (error) { shown = text; }
    said.textContent = answer.status + "\\n" + shown;
    said.className = answer.ok ? "good" : "bad";
  } catch (error) {
    said.textContent = "the service did not answer: " + error;
    said.className = "bad";
  }
});
"""


def page(document: dict[str, Any]) -> bytes:
    """Write an OpenAPI document of this service as HTML; without JavaScript all but the form is there."""
    title = escape(document["info"]["title"])
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head>\n<body>\n<header><h1>{title}</h1>",
        f"<p>{escape(document['info']['description'])}</p>",
        '<p>For machines: <a href="openapi.json">openapi.json</a></p></header>\n<main>',
        *_columns(document["components"]["schemas"]["Row"]),
        *_form(document),
        "<h2>Routes</h2>",
        *_routes(document),
        f"</main>\n<script>{_SCRIPT}</script>\n</body></html>\n",
    ]
    return "\n".join(parts).encode()


def _columns(row: dict[str, Any]) -> Iterator[str]:
    yield f"<h2>Columns</h2><p>{escape(row['description'])}</p>"
    if "properties" not in row:
        return
    yield '<div class="wide"><table><thead><tr><th scope="col">column</th><th scope="col">values</th></tr></thead><tbody>'
    for name, cell in row["properties"].items():
        needed = "" if name in row["required"] else ", may be left out"
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(_values(cell) + needed)}</td></tr>"
    yield "</tbody></table></div>"


def _values(cell: dict[str, Any]) -> str:
    if "enum" in cell:
        return "true, false or null"
    said = f"{cell['type'][0]} or null"
    shown = ", ".join(map(str, cell.get("examples", ())))
    more = ", …" if cell.get("x-seen", 0) > len(cell.get("examples", ())) else ""
    return f"{said}, for example {shown}{more}" if shown else said


def _form(document: dict[str, Any]) -> Iterator[str]:
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    example = json.dumps(body.get("example", {}), indent=2, ensure_ascii=False)
    yield (
        "<h2>Try it</h2><noscript><p>With JavaScript a row can be sent from here; <code>POST /predict</code> takes "
        "the example below.</p></noscript>"
    )
    yield f"<noscript><pre>{escape(example)}</pre></noscript>"
    yield (
        '<form id="ask" hidden><p>What is sent from here carries the header <code>x-rehone-probe: 1</code>: '
        "it is answered, and not written to the prediction log.</p>"
    )
    yield '<label for="rows">One row, or a list of rows, as JSON</label>'
    yield f'<textarea id="rows" name="rows" spellcheck="false">{escape(example)}</textarea>'
    yield '<button type="submit">Predict</button><pre id="said" role="status" aria-live="polite">nothing sent yet</pre></form>'


def _routes(document: dict[str, Any]) -> Iterator[str]:
    for path, item in document["paths"].items():
        for method in ("get", "post", "delete"):
            if method in item:
                yield from _route(method, path, item[method], item.get("parameters", []))


def _route(method: str, path: str, operation: dict[str, Any], shared: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f'<article><details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code>'
        f'<span class="what">{escape(operation["summary"])}</span></summary><div>'
    )
    if "description" in operation:
        yield f"<p>{escape(operation['description'])}</p>"
    parameters = [*shared, *operation.get("parameters", [])]
    if parameters:
        yield _table("in", [(p["name"], p["in"], p.get("description", "")) for p in parameters])
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in body:
        yield f"<pre>{escape(json.dumps(body['example'], indent=2, ensure_ascii=False))}</pre>"
    answers = operation["responses"].items()
    yield _table(
        "type", [(status, ", ".join(said.get("content", ())), said["description"]) for status, said in answers]
    )
    yield "</div></details></article>"


def _table(second: str, lines: list[tuple[str, str, str]]) -> str:
    first = "parameter" if second == "in" else "status"
    rows = "".join(
        f"<tr><td><code>{escape(a)}</code></td><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in lines
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in (first, second, "meaning"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
