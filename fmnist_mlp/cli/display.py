"""What is printed: the plan, progress, the table, where to look."""

import itertools
import shlex
import threading
import time
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table as RichTable
from rich.text import Text

from fmnist_mlp.cli.console import Screen
from fmnist_mlp.data.source import DataSource
from fmnist_mlp.engines.calls import Engine
from fmnist_mlp.results import candidates, columns, ranking, sentences, table
from fmnist_mlp.results.record import MOST_MACHINE_FAILURES, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.loop import Listener, Summary
from fmnist_mlp.runner.plan import Options, Plan
from fmnist_mlp.sweepfile.search import ROUND
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import counted, duration, printable

_SILENCE_SECONDS = 300.0
_MOVES_SHOWN = 20


def warn_of_stand_in(source: DataSource, screen: Screen) -> None:
    if source.fallback_reason:
        screen.warn(f"STAND-IN DATA: {source.fallback_reason}", style="bold yellow")


def print_warnings(plan: Plan, screen: Screen) -> None:
    warn_of_stand_in(plan.source, screen)
    if plan.source.fallback_reason:
        screen.warn("The generated images are not Fashion-MNIST: every row says dataset synthetic.")
    for line in (*plan.info.warnings, *plan.doubts, *plan.damaged, *filter(None, [plan.jobs_note])):
        screen.warn(line)


def print_plan(plan: Plan, screen: Screen) -> None:
    sweep, state, info = plan.sweep, plan.state, plan.info
    counts = [f"{len(state.done)} done"]
    counts += [f"{len(state.failed)} failed before"] if state.failed else []
    counts += [f"{len(plan.to_train)} to train"]
    counts += [f"{counted(len(state.over_budget), 'architecture')} over budget"] if state.over_budget else []
    what = f"{_listed_in_words(sweep)}, {counted(len(state.asked_for), 'trial')}"
    screen.say(f": {what}: {', '.join(counts)}", title=sweep.title)
    if sweep.looks:
        most = (len(sweep.architectures) - len(state.over_budget)) * sweep.looks[-1] * (sweep.folds or 1)
        seeds = ", ".join(map(str, sweep.looks))
        screen.say(f"looks after {seeds} seeds, until every architecture has its verdict; at most {most:,} trials")
    print_search(plan, screen)
    if sweep.refit and not state.refits:
        screen.say(f"then the best by {sweep.select_by} again, on all training images (refit)")
    if sweep.grid_stacks:
        twice = f", {sweep.grid_duplicates:,} of them listed already or the same as another"
        screen.say(f"grid: {counted(sweep.grid_stacks, 'stack')}{twice if sweep.grid_duplicates else ''}")
    train_images = min(sweep.limit or info.train_images, info.train_images)
    images = f"{train_images:,} training and {info.test_images:,} test images of {'x'.join(map(str, info.image_shape))}"
    screen.say(f"{info.dataset}: {images} ({plan.source.path or 'drawn here'})")
    for change in plan.changes:
        screen.say(change)
    for reason, trials in plan.again.items():
        screen.say(f"{counted(trials, 'trial')} with a record trained again: {reason}")


def print_search(plan: Plan, screen: Screen) -> None:
    """What a search asks for: how many candidates, epochs and minutes."""
    state, log = plan.state, plan.state.search
    if log is None:
        return
    search, most = log.search, candidates.most_epochs(log)
    if log.progress(state.records).is_over:
        return
    rungs = "all of them whole"
    if len(search.rungs) > 1:
        rungs = f"compared after {', '.join(map(str, search.rungs))} epochs"
    screen.say(
        f"search: {counted(search.rounds * ROUND, 'candidate')} in {counted(search.rounds, 'round')}, {rungs}: at most "
        f"{most:,} epochs, of {search.epochs * search.rounds * ROUND:,} for all of them whole; about "
        f"{duration(plan.search_seconds(most))}; then {counted(search.finalists, 'finalist')} by the seeds of the sweep"
    )


def _listed_in_words(sweep: Sweep) -> str:
    """`4 architectures`, `4 architectures and 3 baselines`, `3 baselines`."""
    baselines = sum(isinstance(architecture, Baseline) for architecture in sweep.architectures)
    counts = {"architecture": len(sweep.architectures) - baselines, "baseline": baselines}
    return " and ".join(counted(number, noun) for noun, number in counts.items() if number)


def print_stacks(plan: Plan, screen: Screen) -> None:
    stacks = new_table("architecture", "layers", ">parameters", ">FLOPs an image", ">to train")
    for architecture in plan.sweep.architectures:
        size = plan.state.sizes[architecture.name]
        to_train = sum(trial.architecture is architecture for trial in plan.to_train)
        is_open = size.params is not None and has_open_size(architecture.training.preprocess)
        at_most = "at most " if is_open else ""
        stacks.add_row(
            escape(architecture.name),
            escape(architecture.in_short),
            at_most + columns.number_in_words(size.params),
            at_most + columns.number_in_words(size.flops),
            "over budget" if architecture.name in plan.state.over_budget else str(to_train),
        )
    screen.out.print(stacks)


class Display(Listener):
    """A bar for the sweep and a line for each running trial; plain lines where there is no terminal.

    Args:
        before: the table of the run before; where there was one, the table stands below the bar and follows the trials.
    """

    def __init__(self, plan: Plan, screen: Screen, before: Sequence[columns.TableRow] = ()):
        self.plan, self.screen, self._rows = plan, screen, before
        self._engine, self._stops, self._device_said = None, 0, False
        self._cost = {trial.fingerprint: plan.train_cost(trial) for trial in plan.to_train}
        self._spent: dict[str, float] = {}  # cost of ended trials and of the epochs of running ones
        self._running: dict[str, str] = {}
        self._heard: dict[str, float] = {}  # when each running trial was last heard of
        self._watch = None
        self._ended, self._asked, self._started = 0, len(plan.to_train), None
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), console=screen.out
        )
        self._task = self._bar.add_task("", total=max(1.0, sum(self._cost.values())), left="")
        self._live = Live(console=screen.out, refresh_per_second=8, transient=True, get_renderable=self._render)

    def __enter__(self):
        if self.plan.to_train and self.screen.out.is_interactive and not self.screen.out.quiet:
            self.begin_drawing()
        self._watch_for_silence()
        return self

    def __exit__(self, *exception):
        self._watch.cancel()
        self.end_drawing()

    def begin_drawing(self):
        self._live.start()
        self.screen.is_live = True

    def end_drawing(self):
        self.screen.is_live = False
        self._live.stop()

    def _watch_for_silence(self):
        """Say once of a trial that it may hang; only the user can tell a hang from a very large network."""
        for fingerprint, moment in self._heard.copy().items():
            if time.monotonic() - moment > _SILENCE_SECONDS and self._heard.pop(fingerprint, None):
                what = self._running.get(fingerprint, "a trial")
                self.screen.warn(f"no news for {duration(_SILENCE_SECONDS)}: {what}; if it hangs: --trial-timeout")
        self._watch = threading.Timer(_SILENCE_SECONDS / 10, self._watch_for_silence)
        self._watch.daemon = True
        self._watch.start()

    def engine_made(self, engine: Engine):
        self._engine = engine
        if self._stops:  # asked between two engines
            engine.stop()

    def ask_to_stop(self):
        """Ctrl-C or SIGTERM: once, after the running epochs; twice, now."""
        self._stops += 1
        if self._engine is not None:
            self._engine.stop(now=self._stops > 1)
        if self._stops == 1:
            self.screen.warn("stopping at the end of the running epochs; once more to stop now", style="")

    @property
    def is_asked_to_stop(self) -> bool:
        return self._stops > 0

    def tables_written(self, rows: list[columns.TableRow]):
        if self._rows:
            self._rows = rows

    def trials_added(self, trials: list[Trial], state: ranking.SweepState):
        self._cost |= {trial.fingerprint: self.plan.train_cost(trial) for trial in trials}
        self._asked += len(trials)
        if trials[0].is_candidate:
            self.screen.say(candidates.of_the_search(state)[0])
            return
        if state.search is not None and not trials[0].is_refit and len(trials) == len(state.trials):
            for sentence in candidates.of_the_search(state):
                self.screen.say(sentence)
            return
        if trials[0].is_refit:
            best = trials[0].architecture.name
            self.screen.say(f"best by {self.plan.sweep.select_by}: {best}; training it again on all images")
            return
        for sentence in sentences.of_the_looks(state):
            self.screen.say(f"{sentence}{self._at_most(state, trials)}")

    def _at_most(self, state: ranking.SweepState, trials: Sequence[Trial]) -> str:
        """`, at most 25 s`, from what trials took so far."""
        spent = sum(self._spent.values())
        if self._started is None or not spent:
            return ""
        left = sentences.left_by_architecture(state)
        cost = {trial.architecture.name: self._cost[trial.fingerprint] for trial in trials}
        to_spend = sum(cost[name] * number for name, number in left.items() if name in cost)
        return f" At most {duration((time.monotonic() - self._started) * to_spend / spent)}."

    def worker_ready(self, worker: int, environment: dict[str, str]):
        if not self._device_said:
            self._device_said = True
            workers = counted(self._engine.jobs, "worker") if self._engine.jobs else "in this process"
            versions = f"TensorFlow {environment['tensorflow']}, Keras {environment['keras']}"
            self.screen.say(f"device: {environment['device']}, {workers}; {versions}")

    def notice(self, line: str):
        self.screen.warn(line)

    def trial_progress(self, trial: Trial, message: dict):
        self._started = self._started or time.monotonic()  # from here on time is spent on trials
        self._spent[trial.fingerprint] = self._cost[trial.fingerprint] * message["epoch"] / message["epochs"]
        line = f"{trial.in_words}: {'fitting' if isinstance(trial.architecture, Baseline) else 'compiling'}"
        if message["epoch"]:
            measure = "accuracy" if trial.is_refit else "val_accuracy"
            line = f"{trial.in_words}: epoch {message['epoch']}/{message['epochs']}, loss {message['loss']:.4f}, "
            line += f"{measure} {message[measure]:.4f}"
        self._running[trial.fingerprint] = line
        self._heard[trial.fingerprint] = time.monotonic()

    def trial_ended(self, trial: Trial, record, outcome):
        self._running.pop(trial.fingerprint, None)
        self._heard.pop(trial.fingerprint, None)
        if record is None:
            return
        self._ended += 1
        self._spent[trial.fingerprint] = self._cost[trial.fingerprint]
        if record.is_failed:
            self.screen.warn(_failure(trial, record), style="red")
        elif record.is_unscored:
            if not self.screen.out.is_interactive:
                measure = f"val_accuracy {record.history['val_accuracy'][-1]:.4f}"
                self.screen.say(f"[{self._ended}/{self._asked}] {trial.in_words}: epoch {trial.until}, {measure}")
        elif not self.screen.out.is_interactive:
            figures = {name: record.metrics[name] for name in ("test_loss", "test_accuracy")}
            parts = [f"{name} {figure:.4f}" for name, figure in figures.items() if figure is not None]
            parts.append(f"{record.measured['train_seconds']:.1f} s")
            self.screen.say(f"[{self._ended}/{self._asked}] {trial.in_words}: {', '.join(parts)}")

    def _render(self):
        # In a thread of its own, while the main one writes: each dictionary is copied in one step. (A signal handler
        # that speaks would wait for a lock for ever.)
        spent, total = sum(self._spent.copy().values()), sum(self._cost.copy().values())
        running = self._running.copy()
        trials = f"{self._ended}/{self._asked} trials"
        if self._ended == self._asked and self.plan.to_measure:
            trials += ", measuring latency"
        self._bar.update(self._task, completed=spent, description=trials, left=self._time_left(spent, total))
        parts = [*(Text(line, no_wrap=True, overflow="ellipsis") for line in running.values()), self._bar]
        if self._rows:  # below: where it is higher than the screen, its end is cut off
            parts.append(_results_table(self.plan.state, self._rows, None, self.screen))
        return Group(*parts)

    def _time_left(self, spent: float, total: float) -> str:
        """From the share of the arithmetic that is done, once enough is done to tell."""
        if self._started is None:
            return "starting workers"
        seconds = time.monotonic() - self._started
        if spent <= 0 or seconds < 2:
            return ""
        return f"{duration(seconds * (total - spent) / spent)} left"


def print_table(
    state: ranking.SweepState,
    rows: list[columns.TableRow],
    sort_by: str | None,
    screen: Screen,
    moved: Mapping[str, str],
) -> None:
    """The table, its notes, and what has moved since the run before, by architecture."""
    for sentence in sentences.found(state, rows):
        screen.say(sentence, title="")
    screen.out.print(_results_table(state, rows, sort_by, screen))
    for note in table.notes(state, rows):
        screen.say(note)
    for name, words in itertools.islice(moved.items(), _MOVES_SHOWN):
        screen.say(f" {words}", title=f"{name}:")
    if len(moved) > _MOVES_SHOWN:
        screen.say(f"and {len(moved) - _MOVES_SHOWN} more have moved")


def _results_table(state: ranking.SweepState, rows, sort_by: str | None, screen: Screen) -> RichTable:
    is_wide, has_refits = screen.out.width >= 110, any(row.refit_trials for row in rows)
    names = ["architecture", "params", "test_loss", "test_accuracy"]
    names += [state.select_by, "verdict"] if is_wide else ["verdict"]
    if is_wide:
        names += ["trials"] if has_refits else ["pareto", "trials"]  # a line holds so much
    names += ["refit_test_accuracy"] if has_refits else []
    shown = columns.columns_named(*names)
    titles = [column.title if column.is_text else f">{column.title}" for column in shown]
    rich_table = new_table(*titles, title=f"{state.sweep.title} on {printable(state.dataset)}")
    for row in columns.sort_rows(rows, sort_by) if sort_by else ranking.best_first(rows):
        verdict_style = _VERDICT_STYLES.get(row.verdict, "")
        rich_table.add_row(*(Text(c.in_brief(row), style=verdict_style if c.name == "verdict" else "") for c in shown))
    return rich_table


# Colours only underline what the words say.
_VERDICT_STYLES = {
    "best": "bold green",
    "equivalent": "green",
    "not worse than the margin": "green",
    "over budget": "dim",
    "failed": "red",
}


def print_changed(results: Results, screen: Screen) -> None:
    for line in results.take_notices():
        screen.warn(line)


def print_failures(state: ranking.SweepState, options: Options, screen: Screen) -> None:
    """Every failure, and what next: those that are the machine's are no results."""
    records = [state.records[trial.fingerprint] for trial in state.failed]
    for trial, record in zip(state.failed, records, strict=True):
        screen.warn(_failure(trial, record), style="red")
    again = sum(record.is_tried_again() for record in records)
    if again:
        screen.note(
            f"{counted(again, 'failure')} of the machine (memory, disk, a killed worker), not of the trial: the next "
            f"run tries again by itself, up to {MOST_MACHINE_FAILURES} in a row; fewer --jobs need less memory"
        )
    if len(records) > again:
        is_late = any("limit_seconds" in record.error for record in records)
        screen.note(
            f"tracebacks are in the records ({options.results_dir / '_records'}); train them again with --retry-failed"
            + (" or a larger --trial-timeout" if is_late else "")
        )


def print_search_so_far(state: ranking.SweepState, screen: Screen) -> None:
    for sentence in candidates.of_the_search(state):
        screen.say(sentence, title="")


def print_where_to_look(plan: Plan, summary: Summary, screen: Screen) -> None:
    sweep, results_dir = plan.sweep, plan.options.results_dir
    if summary.trained:
        screen.say(f"trained {counted(summary.trained, 'trial')} in {duration(summary.seconds)}")
    folder = results_dir / sweep.folder_name
    screen.say(f"table: {folder / 'results.csv'}")
    if (folder / "report.html").exists():
        screen.say(f"report: {folder / 'report.html'}")
    if sweep.is_quick_look:
        screen.say(f"a quick look ({sweep.overrides_in_words}): {results_dir / sweep.name} is left to the full sweep")
    screen.say(f"curves: tensorboard --logdir {shlex.quote(str(plan.options.logs_dir))}")
    trials = plan.results.trial_logs(sweep.folder_name)
    screen.say(f"curves of every trial: tensorboard --logdir {shlex.quote(str(trials))}")
    if sweep.search is not None:
        screen.say(f"settings of every candidate: tensorboard --logdir {shlex.quote(str(trials / '_search'))}")


def new_table(*columns: str, title: str = "") -> RichTable:
    """A table without rows; a column whose name begins with `>` is flush right."""
    rich_table = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=escape(title) or None, title_justify="left"
    )
    for name in columns:
        rich_table.add_column(name.lstrip(">"), justify="right" if name[0] == ">" else "left", overflow="fold")
    return rich_table


def _failure(trial: Trial, record: Record) -> str:
    message = (record.error["message"].strip() or "no message").splitlines()[0][:300]
    return f"failed: {trial.in_words}: {record.error['type']}: {message}"
