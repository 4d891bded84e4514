"""Choose what the table of runs says, and which of many runs are in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from urllib.parse import parse_qsl, urlencode

from rehone.records import Outcome, RunStatus, RunSummary, TriggerKind
from rehone.report.book import Book
from rehone.report.site import Site
from rehone.report.wording import NOT_ENDED, WAITS, ending

ON_A_PAGE = 200
"""Rows of one page of a dashboard."""
IN_ONE_FILE = 2000
"""Rows of the table in one file; older ones are counted, and left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the form above the table asks for; empty is all."""

    ending: str = ""
    trigger: str = ""
    verdict: str = ""
    text: str = ""
    since: str = ""
    until: str = ""
    page: int = 1

    @property
    def query(self) -> str:
        """Return it as a form would send it, without what is not asked for."""
        named = {name: str(getattr(self, name)) for name in self.__slots__}
        return urlencode({name: said for name, said in named.items() if said and (name, said) != ("page", "1")})

    def wants(self, run: RunSummary) -> bool:
        """Whether a run is asked for."""
        day = f"{run.as_of.astimezone(UTC):%Y-%m-%d}"
        return (
            self.ending in ("", ending(run))
            and self.trigger in ("", run.trigger)
            and self.verdict in ("", run.outcome)
            and (not self.since or self.since <= day)
            and (not self.until or day <= self.until)
            and self.text.casefold() in _text(run)
        )


def facts(book: Book, site: Site, asked: str) -> dict[str, object]:
    """Return what the template is filled with; `asked` is the query of the form."""
    wanted, every = _read(asked), tuple(reversed(_by_age(book.summaries)))
    found = [run for run in every if wanted.wants(run)]
    size = IN_ONE_FILE if site.one_file else ON_A_PAGE
    last = max(1, -(-len(found) // size))
    wanted = replace(wanted, page=min(max(wanted.page, 1), last))
    first = (wanted.page - 1) * size
    return {
        "asked": wanted,
        "rows": tuple(found[first : first + size]),
        "first": first,
        "total": len(found),
        "every": len(every),
        "pages_in_all": last,
        "newer": _href(site, replace(wanted, page=wanted.page - 1)) if wanted.page > 1 else None,
        "older": _href(site, replace(wanted, page=wanted.page + 1)) if wanted.page < last else None,
        "counted": _counted(book.summaries, site, replace(wanted, page=1)),
        "choices": {
            "ending": (*RunStatus, WAITS, NOT_ENDED),
            "trigger": tuple(TriggerKind),
            "verdict": tuple(Outcome),
        },
    }


def _by_age(runs: Sequence[RunSummary]) -> list[RunSummary]:
    return sorted(runs, key=lambda run: (run.started_at, run.run_id))


def _text(run: RunSummary) -> str:
    named = (
        run.run_id,
        run.sentence,
        run.reason,
        run.verdict,
        run.version,
        run.champion,
        run.worst_feature,
        run.problem,
    )
    return " ".join(filter(None, named)).casefold()


def _read(query: str) -> Asked:
    """Read what a form sent; what it cannot have sent is left out."""
    sent = {name: said.strip() for name, said in parse_qsl(query) if name in Asked.__slots__}
    page = sent.pop("page", "1")
    return Asked(**_texts(sent), page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1)


def _texts(sent: Mapping[str, str]) -> dict[str, str]:
    return {name: said[:200] for name, said in sent.items()}


def _href(site: Site, asked: Asked) -> str:
    query = asked.query
    return site.href("runs") + (f"?{query}" if query else "")


def _counted(runs: Sequence[RunSummary], site: Site, asked: Asked) -> tuple[tuple[str, int, str | None], ...]:
    """Count endings, the most frequent first, with what shows only these where a server answers."""
    counts = Counter(ending(run) for run in runs)
    return tuple(
        (name, n, None if site.one_file else _href(site, replace(asked, ending=name)))
        for name, n in counts.most_common()
    )
