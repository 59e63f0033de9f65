"""Commands over files: score, model check, model show."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import AsOf, By, Json, Limit, ModelFile, Score, as_of_seconds
from stream.cli.output import plain, print_json, say, terminal

if TYPE_CHECKING:
    from scoring.rules import Rules
    from stream.event_files import EventFiles
    from stream.offline import OfflineRun


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(score)
    model = typer.Typer(help="Check and show scoring models.", no_args_is_help=True)
    model.command("check")(check)
    model.command("show")(show)
    app.add_typer(model, name="model")


def score(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON lines, plain or gzip; - reads stdin."),
    ],
    as_of: AsOf = None,
    by: By = Score.ENGAGEMENT,
    limit: Limit = 20,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """Score recorded events, without Kafka and Redis.

    Files count in the order given. Events after --as-of are left out; without it, the time of
    the newest event is used. --json prints every account, sorted by id; the table shows the
    best, sorted by --by and cut at --limit. What became of the records goes to standard error.
    """
    from scoring.rules import Rules
    from stream.event_files import EventFiles
    from stream.model_file import read_model
    from stream.networks import open_networks
    from stream.offline import score_lines
    from stream.settings import load_settings

    settings = load_settings(model=model)
    rules = Rules.of(read_model(settings.model))
    lines = EventFiles(files)
    run = score_lines(
        lines,
        rules=rules,
        as_of=as_of_seconds(as_of),
        now=time.time(),
        max_record_bytes=settings.max_record_bytes,
        look_up=open_networks(settings.networks),
    )
    _summarise(run, lines, given=as_of is not None)
    if as_json:
        _print_reports(run, rules)
    else:
        _print_best(run, rules, by=by.value, limit=limit)


def _print_reports(run: "OfflineRun", rules: "Rules") -> None:
    from scoring.report import account_report

    as_of = run.as_of
    if as_of is not None:
        print_json(
            account_report(state, as_of, rules) for _, state in sorted(run.standing().items())
        )


def _print_best(run: "OfflineRun", rules: "Rules", *, by: str, limit: int) -> None:
    from scoring.report import account_report, rfc3339
    from stream.cli.listing import accounts_table, listed

    states = run.standing()
    if run.as_of is None or not states:
        return
    reports = {i: account_report(state, run.as_of, rules) for i, state in states.items()}
    best = sorted(reports, key=lambda i: (-reports[i][by], i))[:limit]
    rows = [listed(states[i], run.as_of, rules, reports[i]) for i in best]
    console = terminal()
    console.print(accounts_table(rows, console))
    shown = f"{len(rows)} of {len(reports)} accounts as of {rfc3339(run.as_of)}"
    console.print(shown, style="dim")


def _summarise(run: "OfflineRun", lines: "EventFiles", *, given: bool) -> None:
    for sentence in _summary(run, lines, given=given):
        say(sentence)


def _summary(run: "OfflineRun", lines: "EventFiles", *, given: bool) -> Iterator[str]:
    from scoring.fold import Outcome
    from scoring.report import rfc3339

    if run.as_of is None:
        yield "no event could be read, so there is nothing to score."
    elif not given:
        yield f"as of {rfc3339(run.as_of)}, the time of the newest event."
    counted = [Outcome.SCORED, Outcome.DUPLICATE, Outcome.UNCHECKED, Outcome.TOO_LATE]
    counted += [Outcome.UNRESOLVED, Outcome.DEAD]
    parts = [f"{run.outcomes[each]} {each.replace('_', ' ')}" for each in counted]
    if given:
        parts.append(f"{run.left_out} left out as later than asked for")
    yield f"records: {', '.join(parts)}; accounts: {len(run.standing())}."
    if run.noise:
        labelled = ", ".join(
            f"{n} {each.replace('_', ' ')}" for each, n in sorted(run.noise.items())
        )
        yield f"labelled as noise, and scored as nothing: {labelled}."
    if run.resolved:
        rules = ", ".join(f"{count} by {rule}" for rule, count in sorted(run.resolved.items()))
        yield f"events without an account: {rules}; {run.backwards} of them backwards."
    for reason, number in sorted(run.dead.items()):
        first = run.examples[reason]
        where = lines.place(first.line)
        yield f"bad records: {number} {reason}, the first at {where}: {first.detail}"


def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="TOML; absent: the model of the settings."),
    ] = None,
) -> None:
    """Check a scoring model, and say in what it differs from the default one."""
    from scoring.model import default_model
    from stream.model_file import differences, read_model
    from stream.settings import load_settings

    model = read_model(load_settings().model if file is None else file)
    default = default_model()
    found = differences(model, default)
    found.pop("name", None)
    verdict = f"model {plain(model.name)} is valid, digest {model.digest}"
    if not found:
        print(f"{verdict}, the same as default.")
        return
    fields = ", ".join(f"{name} ({was!r} -> {is_!r})" for name, (is_, was) in found.items())
    print(f"{verdict}, differs from default in: {plain(fields)}.")
    if model.digest != default.digest:
        print(
            "Stored scores of the default model do not fit it: `surgeline reset --replay` starts "
            "over from Kafka."
        )


def show() -> None:
    """Print the default scoring model as TOML, to be copied and changed."""
    import importlib.resources

    resource = importlib.resources.files("scoring") / "default_model.toml"
    print(resource.read_text(encoding="utf-8"), end="", flush=True)
