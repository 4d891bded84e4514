"""Turn a Vega-Lite specification into SVG for a page: its colours are the page's own, nothing is fetched and no script is needed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, Literal
from unicodedata import east_asian_width
from xml.etree import ElementTree as ET

from rehone.errors import RehoneError

Spec = dict[str, Any]
Shape = Literal["dot", "ring", "cross", "diamond", "down", "square", "line", "dashed", "band", "glyph"]

BROAD, NARROW, COMPACT = 720, 350, 370
"""Widths that charts are drawn at, px: of a whole page, of a phone, and of one that suits both."""

KEPT = 50_000_000
"""Most letters of drawings that are kept in memory; those that were not asked for the longest go first."""

GLYPH = 6.3
"""Mean width of a letter at the size of labels, px; fonts differ, so that room is left."""

_WIDEST = 7.2
"""Mean width of such a letter in fonts that are wide, px, for labels that must fit."""

_MEASURED = 12.6
"""Size at which labels of axes are measured; they are written at 11, for pages have fonts that are wider."""

THEME: Spec = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "mark": {"aria": False},
    "axis": {
        "domainColor": "var(--line)",
        "gridColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "labelFontSize": _MEASURED,
        "titleFontSize": 11,
        "labelOverlap": True,
        "labelLimit": 0,
    },
    "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "start", "titleX": 0, "titleY": -9, "ticks": False},
    "axisX": {"grid": False},
    "text": {"color": "var(--fg)", "fontSize": 11},
}

# paths of 10 by 10 px about the origin
_KEY_PATHS: dict[str, str] = {
    "cross": "M-4,-4L4,4M4,-4L-4,4",
    "diamond": "M0,-5L5,0L0,5L-5,0Z",
    "down": "M-5,-4L5,-4L0,5Z",
    "square": "M-4,-4L4,-4L4,4L-4,4Z",
}
_LINE_HEIGHT = 18
_NAMESPACE = re.compile(r"\{[^}]*\}")
_LONG_NUMBER = re.compile(r"-?\d*\.\d{2,}(?:e-?\d+)?")
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DROPPED = frozenset(
    {"aria-roledescription", "aria-hidden", "pointer-events", "font-family", "class", "version", "target", "title"}
)

_INHERITED = ("fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "text-anchor")

_drawn: OrderedDict[str, str] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: what it means, and how it looks. A `glyph` stands there itself; `clear` is of a band."""

    label: str
    colour: str
    shape: Shape = "dot"
    glyph: str = ""
    clear: float = 1.0


@dataclass(frozen=True, slots=True)
class Label:
    """A name to the left of a plot; `y` is its middle, px from the top of the plot."""

    text: str
    y: float


def breadth(text: str) -> float:
    """Estimate how broad a text is, in letters of mean width."""
    return sum(map(_breadth, text))


def _breadth(letter: str) -> float:
    if east_asian_width(letter) in "WF":
        return 2.0
    return 1.5 if letter.isupper() else 1.0


def draw_both(make: Callable[[int], Spec], name: str, keys: Sequence[Key] = (), *, links: bool = False) -> str:
    """Draw a chart for a whole page and for a phone; the style sheet shows one of them."""
    return draw(make(BROAD), name, keys, kind="broad", links=links) + draw(
        make(NARROW), name, keys, kind="narrow", links=links
    )


def draw(
    spec: Spec,
    name: str,
    keys: Sequence[Key] = (),
    *,
    kind: str = "compact",
    links: bool = False,
    beside: Sequence[Label] = (),
) -> str:
    """Draw a specification as inline SVG, named `name` for those who do not see it, with a legend above.

    Marks with a `description` keep it as `aria-label`; all others are ornament. A drawing with `links`, which lead
    to places on the same page and are for pointers, is a group of parts; any other is one image. Labels `beside` the
    plot stand in for those of its axis on the left: Vega would measure each, which takes longer than all the rest.

    Raises:
        RehoneError: the extra `report` is not installed.
    """
    left = 4 + max((6 + _WIDEST * breadth(label.text) for label in beside), default=0)
    whole = {
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": left, "top": 4, "right": 14, "bottom": 4},
        **spec,
    }
    signs = [[asdict(key) for key in keys], [asdict(label) for label in beside]]
    text = json.dumps(_clean([whole, name, *signs, kind, links]), allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with _lock:
        if digest in _drawn:
            _drawn.move_to_end(digest)
            return _drawn[digest]
    spec, name, *signs = json.loads(text)[:4]
    legend, labels = [Key(**key) for key in signs[0]], [Label(**label) for label in signs[1]]
    svg = _finish(ET.fromstring(_svg(spec)), name, legend, kind, links=links, beside=labels)  # noqa: S314 - vl-convert wrote it
    with _lock:
        _drawn[digest] = svg
        while len(_drawn) > 1 and sum(map(len, _drawn.values())) > KEPT:
            _drawn.popitem(last=False)
    return svg


def _svg(spec: Spec) -> str:
    try:
        import vl_convert
    except ModuleNotFoundError as missing:
        raise RehoneError("charts need vl-convert, which is not installed: pip install 'rehone[report]'") from missing
    svg: str = vl_convert.vegalite_to_svg(spec, config=THEME, allowed_base_urls=[])
    return svg


def _clean(value: Any) -> Any:
    """Replace what neither JSON nor SVG can hold: control characters and halves of letters."""
    if isinstance(value, str):
        return _UNSAFE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(one) for one in value]
    return value


def _finish(
    root: ET.Element, name: str, keys: Sequence[Key], kind: str, *, links: bool, beside: Sequence[Label]
) -> str:
    """Name the drawing, put its legend above and labels beside, and drop what a page does not need."""
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    legend, above = _legend(keys, width)
    parts = [part for part in (_slim(child) for child in root) if part is not None]
    whole = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": f"chart-{kind}",
            "width": f"{width:g}",
            "height": f"{height + above:g}",
            "viewBox": f"0 0 {width:g} {height + above:g}",
            "role": "group" if links else "img",
            "aria-label": name,
            "font-family": "var(--font)",
        },
    )
    whole.extend(legend)
    body = ET.SubElement(whole, "g", {"transform": f"translate(0,{above:g})"} if above else {})
    body.extend(parts)
    if beside:
        body.append(_beside(beside, root[0].attrib["transform"]))
    return ET.tostring(whole, encoding="unicode")


def _beside(labels: Sequence[Label], origin: str) -> ET.Element:
    """Write labels to the left of the plot, whose corner is at `origin`."""
    look = {"font-size": "11", "text-anchor": "end", "fill": "var(--fg)"}
    group = ET.Element("g", {"transform": _LONG_NUMBER.sub(_short, origin), **look})
    for label in labels:
        ET.SubElement(group, "text", {"x": "-4", "y": f"{label.y + 3.5:g}"}).text = label.text
    return group


def _slim(element: ET.Element) -> ET.Element | None:
    """Copy an element without hidden parts and with short numbers; None when nothing of it shows."""
    given = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
    if given.get("display") == "none" or given.get("opacity") == "0" or given.get("d") == "M0,0h0v0h0Z":
        return None
    tag = _NAMESPACE.sub("", element.tag)
    copy = ET.Element(tag, dict(_attributes(given, tag)))
    copy.text = element.text
    copy.extend(part for part in (_slim(child) for child in element) if part is not None)
    if tag == "g":
        _share(copy)
    return None if tag == "g" and not len(copy) else copy


def _share(group: ET.Element) -> None:
    """Say once, of a group, what all of its parts look like."""
    for key in _INHERITED:
        looks = {part.get(key) for part in group}
        if len(group) > 1 and len(looks) == 1 and key not in group.attrib and None not in looks:
            group.set(key, looks.pop() or "")
            for part in group:
                del part.attrib[key]


def _attributes(given: dict[str, str], tag: str) -> Iterator[tuple[str, str]]:
    described = tag != "g" and given.get("role") == "graphics-symbol" and "aria-label" in given
    for key, value in given.items():
        if key in _DROPPED or (key == "opacity" and value == "1"):
            continue
        if key in ("role", "aria-label") and not described:
            continue
        if key in ("transform", "d", "x2", "y2", "width", "height"):
            yield key, _LONG_NUMBER.sub(_short, value)
        elif key == "font-size":
            yield key, value.removesuffix("px").replace(str(_MEASURED), "11")
        elif tag == "a" and key == "href":
            yield key, value[value.find("#") :]
            yield "tabindex", "-1"
        else:
            yield key, value
    if described:
        yield "class", "mark"


def _short(found: re.Match[str]) -> str:
    return f"{round(float(found.group()), 1):g}"


def _legend(keys: Sequence[Key], width: float) -> tuple[list[ET.Element], float]:
    """Lay the entries in lines that fit, and say how much room they take, px."""
    elements: list[ET.Element] = []
    x, line = 8.0, 0
    for key in keys:
        needed = 20 + len(key.label) * GLYPH + 14
        if x + needed > width and x > 8.0:
            x, line = 8.0, line + 1
        group = ET.Element("g", {"transform": f"translate({x:g},{11 + line * _LINE_HEIGHT})"})
        group.append(_sign(key))
        label = ET.SubElement(group, "text", {"x": "20", "y": "4", "font-size": "11", "fill": "var(--muted)"})
        label.text = key.label
        elements.append(group)
        x += needed
    return elements, (line + 1) * _LINE_HEIGHT + 6 if keys else 0


def _sign(key: Key) -> ET.Element:
    if key.shape == "glyph":
        sign = ET.Element("text", {"x": "7", "y": "4", "text-anchor": "middle", "font-size": "12", "fill": key.colour})
        sign.text = key.glyph
        return sign
    if key.shape in ("line", "dashed"):
        dash = {"stroke-dasharray": "4,3"} if key.shape == "dashed" else {}
        return ET.Element("path", {"d": "M0,0L14,0", "stroke": key.colour, "stroke-width": "2", **dash})
    if key.shape == "band":
        return ET.Element("path", {"d": "M0,-5L14,-5L14,5L0,5Z", "fill": key.colour, "fill-opacity": f"{key.clear:g}"})
    if key.shape in ("dot", "ring"):
        look = {"fill": key.colour} if key.shape == "dot" else _outline(key.colour)
        return ET.Element("circle", {"cx": "7", "cy": "0", "r": "4.5", **look})
    look = {"fill": key.colour} if key.shape == "down" else _outline(key.colour)
    return ET.Element("path", {"d": _KEY_PATHS[key.shape], "transform": "translate(7,0)", **look})


def _outline(colour: str) -> dict[str, str]:
    return {"fill": "none", "stroke": colour, "stroke-width": "1.8"}
