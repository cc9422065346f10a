"""`python sweep.py`: plan, run, and say how it ended."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fmnist_mlp.cli.console import (
    DONE,
    INTERRUPTED,
    SOME_FAILED,
    Screen,
    handled_by,
    is_installed,
    standard_streams,
    with_errors_for_people,
)
from fmnist_mlp.cli.display import (
    Display,
    print_changed,
    print_failures,
    print_plan,
    print_search_so_far,
    print_stacks,
    print_table,
    print_warnings,
    print_where_to_look,
)
from fmnist_mlp.cli.options import options_from, overrides_from, sweep_parser
from fmnist_mlp.cli.watch import moves, watch
from fmnist_mlp.errors import ImagesChanged
from fmnist_mlp.results.candidates import is_halted
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.runner.loop import run_sweep
from fmnist_mlp.runner.plan import make_plan
from fmnist_mlp.runner.workers import Workers
from fmnist_mlp.sweepfile.read import load_sweep


def main(arguments: list[str] | None = None, program: str = "sweep.py") -> int:
    """Run `sweep.py` with these arguments (default: the process's own) and return its exit code."""
    with standard_streams():
        parsed = sweep_parser(program).parse_args(arguments)
        return with_errors_for_people(_sweep, parsed, quiet=parsed.quiet)


def _sweep(parsed: argparse.Namespace, screen: Screen) -> int:
    if parsed.watch:
        return watch(parsed, screen, _run_once)
    return _run_once(parsed, screen)[0]


def _run_once(
    parsed: argparse.Namespace, screen: Screen, workers: Workers | None = None, before: Sequence[TableRow] = ()
) -> tuple[int, Sequence[TableRow]]:
    """Plan and run; the exit code and the rows of the table.

    Args:
        before: the table of the run before, for what has moved.
    """
    return again_if_images_changed(lambda: _plan_and_run(parsed, screen, workers, before), screen)


def again_if_images_changed(plan_and_run: Callable[[], Any], screen: Screen) -> Any:
    """What it returns; once more where a worker found other images than it had planned with."""
    try:
        return plan_and_run()
    except ImagesChanged as error:
        screen.warn(f"{error}; the plan is made again")
        return plan_and_run()


def _plan_and_run(
    parsed: argparse.Namespace, screen: Screen, workers: Workers | None, before: Sequence[TableRow]
) -> tuple[int, Sequence[TableRow]]:
    sweep = load_sweep(parsed.sweep, overrides_from(parsed))
    plan = make_plan(sweep, options_from(parsed, sweep), notify=screen.note)
    print_warnings(plan, screen)
    print_plan(plan, screen)
    if parsed.dry_run:
        print_stacks(plan, screen)
        return DONE, ()

    display = Display(plan, screen, before)
    with stop_by_signal(display), display:
        summary = run_sweep(plan, display, workers)
    if workers is not None:
        workers.is_last_run |= display.is_asked_to_stop

    state = summary.state
    if workers is not None and workers.is_paused and not display.is_asked_to_stop:
        screen.note(f"{parsed.sweep} was saved: on with what it says now")
        return INTERRUPTED, before or summary.rows
    print_table(state, summary.rows, parsed.sort, screen, moves(before, summary.rows) if before else {})
    print_failures(state, plan.options, screen)
    print_search_so_far(state, screen)
    if not summary.stopped:  # whoever stops a sweep wants it to end; the next run makes up for it
        # Imported here: after the trials, and only what has changed is drawn.
        from fmnist_mlp.report import report

        report.report(state, summary.rows, plan.results, source=plan.source)
        print_changed(plan.results, screen)
    print_where_to_look(plan, summary, screen)
    if summary.stopped:
        by_name = sys.argv if sys.argv[0].endswith(".py") else ["sweep.py"]
        again = shlex.join(["fmnist-mlp", *sys.argv[1:]] if is_installed() else ["python", *by_name])
        trials = f"{len(state.done)} of {len(state.asked_for)} trials"
        screen.note(f"stopped: {trials} are done and kept; go on with: {again}")
        return INTERRUPTED, summary.rows
    return SOME_FAILED if state.failed or is_halted(state) else DONE, summary.rows


def stop_by_signal(display: Display):
    """While trials run, Ctrl-C and SIGTERM mean stop, not KeyboardInterrupt."""
    return handled_by(lambda number, frame: display.ask_to_stop())
