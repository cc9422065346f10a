"""`python sweep.py`: plan, run, and say how it ended."""

import argparse
import contextlib
import shlex
import signal
import sys

from rich.console import Console
from rich.text import Text

from fmnist_mlp.cli.console import DONE, INTERRUPTED, SOME_FAILED, standard_streams, with_errors_for_people
from fmnist_mlp.cli.display import (
    Display,
    print_changed,
    print_failures,
    print_plan,
    print_stacks,
    print_table,
    print_warnings,
    print_where_to_look,
    shown_path,
)
from fmnist_mlp.cli.options import options_from, overrides_from, sweep_parser
from fmnist_mlp.errors import ImagesChanged
from fmnist_mlp.runner.loop import run_sweep
from fmnist_mlp.runner.plan import make_plan
from fmnist_mlp.sweepfile.read import load_sweep


def main(arguments: list[str] | None = None) -> int:
    """Run `sweep.py` with these arguments (default: the process's own) and return its exit code."""
    with standard_streams():
        parsed = sweep_parser().parse_args(arguments)
        return with_errors_for_people(_sweep, parsed, quiet=parsed.quiet)


def _sweep(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    try:
        return _plan_and_run(parsed, out, err)
    except ImagesChanged as error:
        err.print(Text(shown_path(f"{error}; the plan is made again"), style="yellow"))
        return _plan_and_run(parsed, out, err)


def _plan_and_run(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    sweep = load_sweep(parsed.sweep, overrides_from(parsed))
    options = options_from(parsed, sweep)
    plan = make_plan(sweep, options, notify=lambda line: err.print(Text(line)))
    print_warnings(plan, err)
    print_plan(plan, out)
    if parsed.dry_run:
        print_stacks(plan, out)
        return DONE

    display = Display(plan, out, err)
    with _signals(display), display:
        summary = run_sweep(plan, options, display, handle=display.set_engine)

    print_table(plan, summary.rows, parsed.sort, out)
    print_failures(plan, options, err)
    if not summary.stopped:  # whoever stops a sweep wants it to end; the next run makes up for it
        # Imported here: after the trials, and only what has changed is drawn.
        from fmnist_mlp.report import report

        report.report(plan.state, summary.rows, plan.results, source=plan.source)
        print_changed(plan.results, err)
    print_where_to_look(plan, options, summary, out)
    if summary.stopped:
        again = "python " + shlex.join(sys.argv if sys.argv[0].endswith(".py") else ["sweep.py"])
        err.print(
            f"stopped: {plan.done} of {len(plan.all_trials)} trials are done and kept; go on with: {again}",
            markup=False,
        )
        return INTERRUPTED
    return SOME_FAILED if plan.failed else DONE


@contextlib.contextmanager
def _signals(display: Display):
    """While trials run, Ctrl-C and SIGTERM mean stop, not KeyboardInterrupt."""

    def stop(number, frame):
        display.ask_to_stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
