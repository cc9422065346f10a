"""`sweep.py --watch`: stay, with workers warm, and run again whenever the sweep file is saved.

Hidden here: how a save is noticed, what a mistake in the file means, what has moved since the run before. How a sweep
is run once is `sweep`'s.
"""

import argparse
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist_mlp.cli.console import DONE, INTERRUPTED, USER_ERROR, Screen, handled_by
from fmnist_mlp.cli.options import options_from, overrides_from
from fmnist_mlp.engines.machine import HEED_SECONDS
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import ranking
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.runner.loop import warm_up
from fmnist_mlp.runner.plan import Plan, make_plan
from fmnist_mlp.runner.workers import Workers
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.words import counted

# A save is noticed after one or two of these; to look takes some 10 microseconds, also on a network's file system.
_POLL_SECONDS = 0.05


def watch(parsed: argparse.Namespace, screen: Screen, run_once: Callable) -> int:
    """Run now, and again whenever the sweep file is saved, until Ctrl-C; the exit code is that of the last run.

    Args:
        run_once: `run_once(parsed, screen, workers, before)` gives an exit code and the rows of the table;
            INTERRUPTED also where the workers were paused for what is saved by now.
    """
    if parsed.dry_run or parsed.engine == "ray" or parsed.ray_address:
        raise SweepError("--watch trains, on this machine: it goes with neither --dry-run nor --engine ray")
    if not Path(parsed.sweep).is_file():
        load_sweep(parsed.sweep)  # says what is wrong with the name
    code, rows, is_saved, has_ended = DONE, [], threading.Event(), threading.Event()

    def look() -> None:
        """At what was saved: whoever makes a mistake in it goes on with what runs."""
        try:
            _plan(parsed)
        except SweepError as error:
            screen.fail(error)
        else:
            is_saved.set()
            workers.pause()

    def end(number, frame) -> None:
        """Ctrl-C between two runs. No exception: it may come in the middle of waiting for a lock."""
        has_ended.set()
        is_saved.set()
        workers.pause()

    with Workers(stay_warm=True) as workers, on_save(Path(parsed.sweep), look), handled_by(end):
        while True:
            is_saved.clear()
            workers.is_paused = False
            if has_ended.is_set():
                return code
            try:
                code, rows = run_once(parsed, screen, workers, rows)
            except SweepError as error:
                code = USER_ERROR
                screen.fail(error)
            if workers.is_last_run or (code == INTERRUPTED and not is_saved.is_set()):
                return code
            parsed.fresh = parsed.retry_failed = False  # once
            if not is_saved.is_set():
                screen.note(f"watching {parsed.sweep}: save it, and what changed is trained; Ctrl-C ends")
                if code != USER_ERROR and parsed.jobs != 0:
                    warm_up(_plan(parsed), workers)
                while not is_saved.wait(HEED_SECONDS):
                    pass
            if screen.out.is_interactive and not has_ended.is_set():
                screen.out.clear()


def _plan(parsed: argparse.Namespace) -> Plan:
    sweep = load_sweep(parsed.sweep, overrides_from(parsed))
    return make_plan(sweep, options_from(parsed, sweep))


@contextlib.contextmanager
def on_save(path: Path, call: Callable[[], None]):
    """Inside the block, call `call()` in a thread of its own when the file has changed and rests."""

    def signature() -> tuple:
        try:
            status = path.stat()
        except OSError:  # an editor that writes aside is between two steps
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def poll() -> None:
        seen = before = at_first
        while not has_ended.wait(_POLL_SECONDS):
            now = signature()
            if now and now == before and now != seen:  # nobody writes to it any more
                seen = now
                call()
            before = now

    at_first, has_ended = signature(), threading.Event()
    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def moves(before: Sequence[TableRow], rows: Sequence[TableRow]) -> dict[str, str]:
    """What has moved from one table to the next, in words by architecture: `new`, `up 2, +0.0031`, `gone`.

    The difference is that of the mean test accuracy; an architecture of which nothing moved is left out.
    """
    old_rows = {row.architecture: row for row in ranking.best_first(before)}
    names = {row.architecture for row in rows}
    words = {name: "gone" for name in old_rows if name not in names}
    places = {name: place for place, name in enumerate(name for name in old_rows if name not in words)}
    stayed = (row.architecture for row in ranking.best_first(rows) if row.architecture in places)
    new_places = {name: place for place, name in enumerate(stayed)}
    for row in rows:
        if (old := old_rows.get(row.architecture)) is None:
            words[row.architecture] = "new"
            continue
        parts, climbed = [], places[row.architecture] - new_places[row.architecture]
        parts += [f"{'up' if climbed > 0 else 'down'} {abs(climbed)}"] if climbed else []
        if row.trials > old.trials:
            parts.append(f"{counted(row.trials - old.trials, 'trial')} more")
        was, now = old.test_accuracy.mean, row.test_accuracy.mean
        if None not in (was, now) and round(now - was, 4):
            parts.append(f"{now - was:+.4f}")
        if parts:
            words[row.architecture] = ", ".join(parts)
    return words
