"""Letters of drawings are large enough, inside of their drawing, and apart, as a real browser lays them out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from browser_kit import DESK, PHONE, browser, watched
from playwright.sync_api import Browser

from rehone.records import CheckStatus, FeatureDrift, Figures, Histogram, Importance, RunStatus
from rehone.report import charts
from rehone.report.charts import Chart
from test_charts import OF_RUN, candidate, curves, deployed, health, judged, psi, record, tried, verdict
from test_charts import run as look

__all__ = ["browser"]

SMALLEST = 9.0

_LETTERS = """() => {
  const amiss = [];
  for (const svg of document.querySelectorAll(".drawing svg")) {
    const own = svg.getBoundingClientRect();
    if (!own.width) continue;
    const name = svg.getAttribute("aria-label"), scale = own.width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
    texts.forEach(([text, box], at) => {
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < SMALLEST) amiss.push(`${name}: ${text.textContent} is ${size.toFixed(1)} px`);
      if (box.left < own.left - 1 || box.right > own.right + 1 || box.top < own.top - 1 || box.bottom > own.bottom + 1)
        amiss.push(`${name}: ${text.textContent} is outside`);
      for (const [other, there] of texts.slice(at + 1)) {
        const across = Math.min(box.right, there.right) - Math.max(box.left, there.left);
        const down = Math.min(box.bottom, there.bottom) - Math.max(box.top, there.top);
        if (across > 1 && down > 4) amiss.push(`${name}: ${text.textContent} runs into ${other.textContent}`);
      }
    });
  }
  return amiss;
}""".replace("SMALLEST", str(SMALLEST))


def drawn() -> Iterator[Chart | None]:
    """Draw much of everything, with long names."""
    kinds = ("a_feature_with_a_long_name", "A_FEATURE_IN_CAPITAL_LETTERS", "長い名前を持つ列、読みにくいもの")
    names = [f"{kinds[n % 3]}_{n}" for n in range(40)]
    fates = (RunStatus.DEPLOYED, RunStatus.REJECTED, RunStatus.ROLLED_BACK, RunStatus.INCONCLUSIVE)
    runs = [replace(judged(n, 0.8 + n / 400, fates[n % 4]), label_rate=0.1, worst_psi=n / 9) for n in range(47)]
    yield from (charts.trend(runs, None, metric) for metric in ("roc_auc", "recall", "cost_per_1000"))
    yield charts.trend([judged(0, 0.9), judged(1, 0.2, RunStatus.REJECTED), judged(2, 0.91)], None, "roc_auc")
    drift = tuple(FeatureDrift(feature=name, psi=0.3) for name in names)
    checks = tuple(psi(name, 0.3, status) for name, status in zip(names, [*CheckStatus] * 10, strict=True))
    yield from (charts.heat([record(n, drift, checks) for n in range(count)]) for count in (1, 5, 19, 60))
    yield charts.psi_time(runs)
    yield charts.label_rate(runs[:2])
    yield charts.run_times([*runs, look(50)])
    yield charts.course(OF_RUN, "run-1")
    yield charts.gate_failures(runs, health(judged=20, refused=9, gate_failure_share=0.45))
    yield charts.deployments([deployed(n + 1, f"{n:x}" * 64, 9 * n) for n in range(14)])
    yield charts.histogram(
        Histogram(name="x", kind=None, bins=(*names, "missing"), reference=(9,) * 41, current=(8,) * 41)
    )
    both = (curves("challenger"), curves("champion"))
    yield from (chart(both) for chart in (charts.roc, charts.precision_recall, charts.calibration, charts.cost_curve))
    bout = psi("", -0.012345, CheckStatus.ACT)
    bouts = ("roc_auc_vs_champion", "recall_vs_champion", "anchor")
    found = [replace(bout, name=name, limit=-0.02, interval=(-0.1234, 0.0123), subject="f" * 64) for name in bouts]
    yield charts.intervals(verdict(*found, replace(found[0], name="slice", subject="a long column is a long value")))
    worth = tuple(Importance(feature=name, value=0.1, low=0.0, high=0.2) for name in names)
    yield charts.importance(Figures(importance=worth, importance_rows=9))
    yield charts.candidates(
        tried(*(candidate(name, 0.98 + n / 9999, winner=n == 3) for n, name in enumerate(names[:8])))
    )


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all drawings on one page with the pages' own style."""
    style = (resources.files("rehone.report") / "templates" / "style.css").read_text("utf-8")
    found = [chart for chart in drawn() if chart is not None]
    assert len(found) == 22
    panels = "".join(f'<div class="panel"><div class="drawing">{chart.svg}</div></div>' for chart in found)
    page = tmp_path_factory.mktemp("gallery") / "gallery.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page.write_text(
        f"<!doctype html><html lang=en><head>{head}<style>{style}</style></head><body><main>{panels}</main></body></html>",
        "utf-8",
    )
    return page


@pytest.mark.parametrize("size", [DESK, PHONE, {"width": 700, "height": 900}], ids=["desk", "phone", "between"])
def test_letters_are_large_enough_inside_of_their_drawing_and_apart(
    gallery: Path, browser: Browser, size: dict[str, int]
) -> None:
    with watched(browser, "file://", viewport=size) as window:
        assert window.open(gallery.as_uri()).evaluate(_LETTERS) == []
