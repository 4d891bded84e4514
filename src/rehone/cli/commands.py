"""The commands and their options; what they need is imported when one of them is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rehone import __version__
from rehone.cli import endings
from rehone.cli.alerts import alerts
from rehone.cli.approve import approve, breaker, reject
from rehone.cli.backtest import backtest
from rehone.cli.calibrate import calibrate
from rehone.cli.chapters import Chapters
from rehone.cli.completion import completion, runs, runs_and_versions, versions
from rehone.cli.drill import drill
from rehone.cli.endings import Session
from rehone.cli.fleet import fleet
from rehone.cli.forecasts import forecasts
from rehone.cli.health import health
from rehone.cli.keys import keys
from rehone.cli.metrics import metrics
from rehone.cli.options import json_option, project_option, quiet_option
from rehone.cli.printing import print_found, print_json, print_lines
from rehone.cli.replay import replay
from rehone.cli.report import dashboard, report
from rehone.cli.schedule import schedule
from rehone.cli.why import why

if TYPE_CHECKING:
    from rehone.records import Check, Deployment, RunRecord, StageEnd


def _moment(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a date: write 2026-08-31, or 2026-08-31T14:00+02:00 for a moment"
        ) from None
    return value


def _as_of(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--as-of",
        callback=_moment,
        metavar="DATE",
        help="Act as if it were this day (in data.timezone): only earlier events are seen. Default: now.",
    )(command)


@click.group(cls=Chapters, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rehone", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of whatever ends the command.")
@click.pass_context
def app(context: click.Context, debug: bool) -> None:
    """Retrain a model when there is a reason to, and deploy it only when it is no worse.

    Start with `rehone init` in a folder with data, then `rehone run`.
    Exit codes: 0 deployed or skipped, 2 something to fix, 3 held back, 1 a bug.
    """
    context.ensure_object(Session).debug = debug
    endings.log_to_stderr(debug=debug)
    if os.environ.get("NO_COLOR"):
        context.color = False


@app.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--label", metavar="COL", help="Column to predict. Default: the 0/1 column that looks like a label.")
@click.option("--time", metavar="COL", help="Column of the event time. Default: the dated column that looks like it.")
@click.option("--force", is_flag=True, help="Replace a rehone.toml that is already there.")
@json_option
def init(folder: Path, label: str | None, time: str | None, force: bool, as_json: bool) -> int:
    """Look at the data in DIR and write a commented rehone.toml beside it.

    Finds the files, the time column, the label and the columns that a model must not see
    (ids, clocks, leaks). Every key stands in the file, with the defaults commented out.
    It asks only on a terminal, and only when several columns could be the label or the time.
    """
    import rehone.cli.init as door

    ask = _ask if sys.stdin.isatty() and sys.stdout.isatty() and not as_json else None
    written = door.init(folder, door.Wishes(label=label, time=time, force=force), ask=ask)
    print_found(door.plain(written), lambda: door.lines(written, _width()), as_json=as_json)
    return endings.GOOD


@app.command()
@project_option
@_as_of
@click.option("--force", is_flag=True, help="Train even without a reason; data and gate are judged as always.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the last sentence.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=runs,
    help="Go on with a run that is made stage by stage, after its last finished one.",
)
@json_option
def run(project: str, as_of: str | None, force: bool, quiet: bool, resume: str | None, as_json: bool) -> int:
    """Retrain if there is a reason, judge the challenger, deploy it if it is no worse.

    Meant for cron: it says one sentence per stage, keeps a record of every run, and never
    touches what is live unless the new version has proved itself.
    """
    from rehone import api
    from rehone.cli.progress import listening

    if resume and (as_of or force):
        raise click.UsageError("--resume goes on with a run as it began: leave out --as-of and --force")
    with listening(quiet=quiet, to_stderr=as_json) as listen:
        if resume:
            record = api.resume_run(project, resume, listen=listen)
        else:
            record = api.run_pipeline(project, as_of=as_of, force=force, listen=listen)
    return _print_ending(record, project, quiet=quiet, as_json=as_json)


def _print_ending(record: RunRecord, project: str, *, quiet: bool, as_json: bool) -> int:
    if as_json:
        print_json(record)
    else:
        from rehone.cli.show import run_ending

        print_lines(run_ending(record, project, quiet=quiet, width=_width()))
    return endings.of_run(record)


@app.command()
@click.argument("name", metavar="NAME", type=click.Choice(["check", "validate", "train", "judge", "deploy", "close"]))
@project_option
@click.option(
    "--run",
    "run_id",
    metavar="RUN",
    shell_complete=runs,
    help="The run to go on with; or your own name for it, under which check begins it.",
)
@_as_of
@click.option("--force", is_flag=True, help="With check: train even without a reason.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the last sentence.")
@json_option
def stage(name: str, project: str, run_id: str | None, quiet: bool, as_json: bool, **begun: Any) -> int:
    """Make one stage of a run: check, validate, train, judge, deploy; or close an open run.

    For orchestrators that give each stage a process or a machine of its own. check begins a run
    and prints its id; the others go on with it. A stage that has ended is not made again, one that
    was interrupted is. A name that begins with a letter does as --run from check on: then a check
    made again goes on with the run that it began. Exits with 99 when check finds nothing to do.
    """
    from rehone import api
    from rehone.cli.progress import listening

    if run_id is None and name != "check":
        raise click.UsageError(f"{name} goes on with a run: name it with --run; `rehone stage check` begins one")
    if (name != "check" or not (run_id or "a")[0].isalpha()) and any(begun.values()):
        raise click.UsageError("a run goes on as it began: leave out --as-of and --force")
    if name == "close":
        return _print_ending(api.close_run(project, run_id or ""), project, quiet=quiet, as_json=as_json)
    with listening(quiet=quiet, to_stderr=as_json) as listen:
        end = api.run_stage(project, name, run=run_id, listen=listen, **begun)
    return _print_stage(end, project, quiet=quiet, as_json=as_json)


def _print_stage(end: StageEnd, project: str, *, quiet: bool, as_json: bool) -> int:
    from rehone import api
    from rehone.cli.show import run_ending, stage_end
    from rehone.records import RunRecord, RunStatus

    record = None if end.status is None else api.show(project, end.run_id)
    if as_json:
        print_json(end)
    elif isinstance(record, RunRecord):
        print_lines(run_ending(record, project, quiet=quiet, width=_width()))
    else:
        print_lines(stage_end(end, project))
    if end.status is RunStatus.SKIPPED:
        return endings.NOTHING_TO_DO
    return endings.of_run(record) if isinstance(record, RunRecord) else endings.GOOD


@app.command()
@project_option
@_as_of
@quiet_option
@json_option
def check(project: str, as_of: str | None, quiet: bool, as_json: bool) -> int:
    """Say whether a run would retrain now, and why. Changes nothing.

    Exits with 2 when the data could not be trained on as they are.
    """
    from rehone import api
    from rehone.cli.show import preview_lines
    from rehone.records import CheckStatus

    preview = api.check(project, as_of=as_of)
    print_found(preview, lambda: preview_lines(preview, _width()), as_json=as_json, quiet=quiet)
    blocked = preview.trigger is not None and preview.trigger.blocked
    refused = blocked or any(found.status is CheckStatus.ACT for found in preview.data_checks)
    return endings.MUST_FIX if refused else endings.GOOD


@app.command()
@project_option
@json_option
def status(project: str, as_json: bool) -> int:
    """Say what is live, since when and by whom, who serves it, and what to do next."""
    from rehone import api
    from rehone.cli.status import status_lines

    found = api.status(project)
    print_found(found, lambda: status_lines(found, project, width=_width()), as_json=as_json)
    return endings.GOOD


@app.command()
@project_option
@click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N", help="Only the newest N runs. Default: all.")
@json_option
def history(project: str, limit: int | None, as_json: bool) -> int:
    """List the runs, oldest first: when, how they ended and why they trained.

    Below them stand the deployments that no run made, such as rollbacks by hand.
    """
    from rehone import api
    from rehone.cli.status import history_entry, history_lines, manual_lines

    runs = api.runs(project)
    runs = runs[-limit:] if limit else runs
    if as_json:
        print_json([history_entry(run) for run in runs])
    else:
        print_lines(history_lines(runs, project, width=_width()))
        print_lines(manual_lines(api.deployments(project), width=_width()))
    return endings.GOOD


@app.command()
@click.argument("ref", metavar="RUN|VERSION", shell_complete=runs_and_versions)
@project_option
@json_option
def show(ref: str, project: str, as_json: bool) -> int:
    """Tell the whole story of a run, or the facts of a version.

    RUN or VERSION is an id or any beginning of one that is unique. The story of a run ends
    with the command that repeats it.
    """
    from rehone import api
    from rehone.api.showing import told
    from rehone.cli.show import version_lines
    from rehone.cli.story import run_lines
    from rehone.records import RunRecord

    found = api.show(project, ref)
    if as_json:
        print_json(found)
    elif isinstance(found, RunRecord):
        said = run_lines(
            told(project, found), project, width=_width(), deliveries=api.deliveries(project, found.run_id)
        )
        print_lines(said)
    else:
        print_lines(version_lines(found, project, width=_width()))
    return endings.GOOD


@app.command()
@project_option
@click.option(
    "--to",
    metavar="VERSION",
    shell_complete=versions,
    help="Version to go back to, or its beginning; 'none' serves nothing. Default: the confirmed one before the live one.",
)
@click.option("--because", metavar="TEXT", default="", help="Reason, kept in the deployment log.")
@quiet_option
@json_option
def rollback(project: str, to: str | None, because: str, quiet: bool, as_json: bool) -> int:
    """Put an earlier version back, in milliseconds; needs neither data nor training code."""
    from rehone import api
    from rehone.cli.status import rollback_lines

    def say(made: Deployment) -> None:
        print_found(made, lambda: rollback_lines(made, _width()), as_json=as_json, quiet=quiet)

    api.rollback(project, to=to, because=because, listen=say)
    return endings.GOOD


@app.command()
@project_option
@click.option("--dry-run", is_flag=True, help="Only look; heal nothing.")
@click.option(
    "--tell-since",
    callback=_moment,
    metavar="DATE",
    help="Tell trackers of all runs from that day on, even of those before they were configured.",
)
@click.option("--deep", is_flag=True, help="Also drill the gate and the service, as `rehone drill` does: minutes.")
@click.option("--quiet", "-q", is_flag=True, help="Print only what needs a person.")
@json_option
def doctor(project: str, dry_run: bool, tell_since: str | None, deep: bool, quiet: bool, as_json: bool) -> int:
    """Look for what is broken or left over, and heal what can be healed.

    Exits with 2 when something still needs a person.
    """
    from rehone import api
    from rehone.cli.status import doctor_lines
    from rehone.records import CheckStatus

    checks: tuple[Check, ...] = api.doctor(project, heal=not dry_run, tell_since=tell_since, deep=deep)
    bad = tuple(found for found in checks if found.status is CheckStatus.ACT)
    shown = bad if quiet else checks
    print_found(checks, lambda: doctor_lines(shown, _width()), as_json=as_json, quiet=quiet and not bad)
    return endings.MUST_FIX if bad else endings.GOOD


@app.command()
@project_option
@click.option("--host", metavar="ADDRESS", help="Address to listen on. Default: serve.host of rehone.toml.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. Default: serve.port."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes that share the port; one that dies or hangs is replaced. Default: serve.workers.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="How events are written to stderr, one a line. Default: text on a terminal, json otherwise.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level of event that is written.",
)
@click.pass_obj
def serve(
    session: Session, /, project: str, log_format: Literal["text", "json"] | None, log_level: str, **asked: Any
) -> int:
    """Serve the live version over HTTP and follow every deployment and rollback.

    POST rows to /predict; GET /health says which version answers. Ends with Ctrl-C.
    """
    from rehone.cli import service
    from rehone.config import load_config

    config = load_config(Path(project))
    given = {name: value for name, value in asked.items() if value is not None}
    form = log_format or ("text" if sys.stderr.isatty() else "json")
    return service.serve(
        config.model_copy(update={"serve": config.serve.model_copy(update=given)}),
        service.Logging(form=form, level=log_level, whole=session.debug),
    )


for _command in (approve, reject, breaker, why, report, dashboard, health, alerts, metrics):
    app.add_command(_command)
app.add_command(backtest)
app.add_command(calibrate)
app.add_command(forecasts)
app.add_command(replay)
app.add_command(drill)
app.add_command(fleet)
app.add_command(schedule)
app.add_command(keys)
app.add_command(completion)


def _ask(question: str, choices: tuple[str, ...]) -> str:
    for number, choice in enumerate(choices, 1):
        click.echo(f"  {number}  {choice}")
    picked = click.prompt(question, type=click.IntRange(1, len(choices)), default=1)
    return choices[int(picked) - 1]


def _width() -> int:
    from rehone.cli.text import width

    return width()
