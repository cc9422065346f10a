"""What is printed: the plan, progress, the table, where to look."""

import shlex
import threading
import time
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table as RichTable
from rich.text import Text

from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.record import MOST_MACHINE_FAILURES
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.loop import Listener, Summary
from fmnist_mlp.runner.plan import Options, Plan
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial

NARROWEST = 40  # columns of a terminal; COLUMNS may say 1

_SILENCE_SECONDS = 300.0


def print_warnings(plan: Plan, err: Console) -> None:
    if plan.source.fallback_reason:
        err.print(Text(f"STAND-IN DATA: {plan.source.fallback_reason}", style="bold yellow"))
        err.print(Text("The generated images are not Fashion-MNIST: every row says dataset synthetic.", style="yellow"))
    for line in [*plan.info.warnings, *plan.doubts, *plan.damaged]:
        err.print(Text(line, style="yellow"))
    if plan.jobs_note:
        err.print(Text(plan.jobs_note, style="yellow"))


def print_plan(plan: Plan, out: Console) -> None:
    info, counts = plan.info, [f"{plan.done} done"]
    if plan.failed:
        counts.append(f"{len(plan.failed)} failed before")
    counts.append(f"{len(plan.to_train)} to train")
    if plan.over_budget:
        counts.append(f"{plural(len(plan.over_budget), 'architecture')} over budget")
    place = "drawn here" if plan.source.folder is None else shown_path(plan.source.folder)
    train_images = min(plan.sweep.limit or info.train_images, info.train_images)
    images = f"{train_images:,} training and {info.test_images:,} test images"
    out.print(
        f"[bold]{escape(plan.sweep.title)}[/]: {_listed_in_words(plan.sweep)}, "
        f"{plural(len(plan.all_trials), 'trial')}: {', '.join(counts)}",
        soft_wrap=True,
    )
    if plan.sweep.refit and not plan.refits:
        out.print(f"then the best by {plan.sweep.select_by} again, on all training images (refit)")
    if plan.sweep.grid_stacks:
        twice = plan.sweep.grid_duplicates
        out.print(
            f"grid: {plural(plan.sweep.grid_stacks, 'stack')}"
            + (f", {twice:,} of them listed already or the same as another" if twice else "")
        )
    out.print(
        f"{escape(shown_path(info.dataset))}: {images} of {'x'.join(map(str, info.image_shape))} ({escape(place)})",
        soft_wrap=True,
    )
    for change in plan.changes:
        out.print(change, markup=False, soft_wrap=True)


def _listed_in_words(sweep: Sweep) -> str:
    """`4 architectures`, `4 architectures and 3 baselines`, `3 baselines`."""
    baselines = sum(isinstance(architecture, Baseline) for architecture in sweep.architectures)
    counts = {"architecture": len(sweep.architectures) - baselines, "baseline": baselines}
    return " and ".join(plural(number, noun) for noun, number in counts.items() if number)


def print_stacks(plan: Plan, out: Console) -> None:
    columns = new_table(
        "architecture", "layers", ("parameters", "right"), ("FLOPs an image", "right"), ("to train", "right")
    )
    for architecture in plan.sweep.architectures:
        size = plan.sizes[architecture.name]
        to_train = sum(trial.architecture is architecture for trial in plan.to_train)
        is_open = size.params is not None and has_open_size(architecture.training.preprocess)
        at_most = "at most " if is_open else ""
        columns.add_row(
            escape(architecture.name),
            escape(architecture.in_short),
            at_most + table.count_in_words(size.params),
            at_most + table.count_in_words(size.flops),
            "over budget" if architecture.name in plan.over_budget else str(to_train),
        )
    out.print(columns)


class Display(Listener):
    """A bar for the sweep and a line for each running trial; plain lines where there is no terminal."""

    def __init__(self, plan: Plan, out: Console, err: Console):
        self.plan, self.out, self.err = plan, out, err
        self._engine, self._stops, self._device_said = None, 0, False
        self._cost = {trial.fingerprint: plan.train_cost(trial) for trial in plan.to_train}
        self._spent: dict[str, float] = {}  # cost of ended trials and of the epochs of running ones
        self._running: dict[str, str] = {}
        self._heard: dict[str, float] = {}  # when each running trial was last heard of
        self._watch = None
        self._trials, self._ended, self._started = len(plan.to_train), 0, None
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), console=out
        )
        self._task = self._bar.add_task("", total=max(1.0, sum(self._cost.values())), left="")
        self._live = Live(console=out, refresh_per_second=8, transient=True, get_renderable=self._render)

    def __enter__(self):
        if self.plan.to_train and self.out.is_interactive and not self.out.quiet:
            self._live.start()
        self._watch_for_silence()
        return self

    def __exit__(self, *exception):
        self._watch.cancel()
        self._live.stop()

    def _say(self, message: str | Text):
        """A line above the bar: a live display must not be written past."""
        (self.out if self._live.is_started else self.err).print(message)

    def _watch_for_silence(self):
        """Say once of a trial that it may hang; only the user can tell a hang from a very large network."""
        for fingerprint, moment in self._heard.copy().items():
            if time.monotonic() - moment > _SILENCE_SECONDS and self._heard.pop(fingerprint, None):
                what = self._running.get(fingerprint, "a trial")
                self._say(
                    Text(
                        f"no news for {_duration(_SILENCE_SECONDS)}: {what}; if it hangs: --trial-timeout",
                        style="yellow",
                    )
                )
        self._watch = threading.Timer(_SILENCE_SECONDS / 10, self._watch_for_silence)
        self._watch.daemon = True
        self._watch.start()

    def set_engine(self, engine):
        self._engine = engine
        if self._stops:  # asked between two engines
            engine.stop()

    def ask_to_stop(self):
        """Ctrl-C or SIGTERM: once, after the running epochs; twice, now."""
        self._stops += 1
        if self._engine is not None:
            self._engine.stop(now=self._stops > 1)
        if self._stops == 1:
            self._say("stopping at the end of the running epochs; once more to stop now")

    def trials_added(self, trials: list[Trial]):
        self._cost |= {trial.fingerprint: self.plan.train_cost(trial) for trial in trials}
        self._trials += len(trials)
        name = escape(trials[0].architecture.name)
        self.out.print(f"best by {self.plan.sweep.select_by}: {name}; training it again on all images")

    def worker_ready(self, worker: int, environment: dict[str, str]):
        if self._started is None:
            self._started = time.monotonic()  # from here on time is spent on trials
        if not self._device_said:
            self._device_said = True
            workers = plural(self.plan.jobs, "worker") if self.plan.jobs else "in this process"
            self.out.print(
                f"device: {escape(environment['device'])}, {workers}; TensorFlow {environment['tensorflow']}, "
                f"Keras {environment['keras']}"
            )

    def notice(self, line: str):
        self._say(Text(shown_path(line), style="yellow"))

    def trial_progress(self, trial: Trial, message: dict):
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
        if not record.is_done:
            self._say(_failure(trial, record))
        elif not self.out.is_interactive:
            loss, accuracy = record.metrics["test_loss"], record.metrics["test_accuracy"]
            self.out.print(
                f"[{self._ended}/{self._trials}] {trial.in_words}: "
                + ("" if loss is None else f"test_loss {loss:.4f}, ")
                + f"test_accuracy {accuracy:.4f}, {record.measured['train_seconds']:.1f} s",
                markup=False,
            )

    def _render(self):
        # In a thread of its own, while the main one writes: each dictionary is copied in one step. (A signal handler
        # that speaks would wait for a lock for ever.)
        spent, total = sum(self._spent.copy().values()), sum(self._cost.copy().values())
        running = self._running.copy()
        self._bar.update(
            self._task,
            completed=spent,
            description=f"{self._ended}/{self._trials} trials"
            + (", measuring latency" if self._ended == self._trials and self.plan.to_measure else ""),
            left=self._time_left(spent, total),
        )
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in running.values()), self._bar)

    def _time_left(self, spent: float, total: float) -> str:
        """From the share of the arithmetic that is done, once enough is done to tell."""
        if self._started is None:
            return "starting workers"
        seconds = time.monotonic() - self._started
        if spent <= 0 or seconds < 2:
            return ""
        return f"{_duration(seconds * (total - spent) / spent)} left"


def print_table(plan: Plan, rows: list[dict], sort_by: str | None, out: Console) -> None:
    select_by = plan.sweep.select_by
    names = ["architecture", ("parameters", "right"), ("test loss", "right"), ("test accuracy", "right"), "verdict"]
    has_refits = any(row["refit_trials"] for row in rows)
    if is_wide := out.width >= 110:
        names[4:4] = [(select_by.replace("_", " "), "right")]
        names += [("trials", "right")] if has_refits else ["Pareto", ("trials", "right")]  # a line holds so much
    names += [("refit: test accuracy", "right")] if has_refits else []
    columns = new_table(*names, title=f"{plan.sweep.title} on {shown_path(plan.info.dataset)}")
    for row in table.sort_rows(rows, sort_by) if sort_by else ranking.best_first(rows):
        cells = [
            escape(row["architecture"]),
            table.count_in_words(row["params"]),
            "" if row["test_loss"] is None else f"{row['test_loss']:.4f}",
            table.with_spread(row, "test_accuracy"),
            Text(table.verdict_in_words(row, in_short=True), style=_VERDICT_STYLES.get(row["verdict"], "")),
        ]
        if is_wide:
            cells[4:4] = [table.with_spread(row, select_by)]
            failed = f" ({row['failed']} failed)" if row["failed"] else ""
            cells += [] if has_refits else [table.pareto_in_words(row)]
            cells.append(f"{row['trials']}{failed}")
        cells += [table.with_spread(row, "refit_test_accuracy")] if has_refits else []
        columns.add_row(*cells)
    out.print(columns)
    for note in table.notes(plan.state, rows):
        out.print(note, markup=False, soft_wrap=True)


# Colours only underline what the words say.
_VERDICT_STYLES = {"best": "bold green", "tied with best": "green", "over budget": "dim", "failed": "red"}


def print_changed(results: Results, err: Console) -> None:
    for line in results.take_notices():
        err.print(Text(shown_path(line), style="yellow"))


def print_failures(plan: Plan, options: Options, err: Console) -> None:
    """Every failure, and what next: those that are the machine's are no results."""
    records = [plan.records[trial.fingerprint] for trial in plan.failed]
    for trial, record in zip(plan.failed, records, strict=True):
        err.print(_failure(trial, record))
    again = sum(record.is_tried_again() for record in records)
    if again:
        err.print(
            f"{plural(again, 'failure')} of the machine (memory, disk, a killed worker), not of the trial: the next "
            f"run tries again by itself, up to {MOST_MACHINE_FAILURES} in a row; fewer --jobs need less memory"
        )
    if len(records) > again:
        folder = shown_path(options.results_dir / "_records")
        is_late = any("limit_seconds" in record.error for record in records)
        err.print(
            f"tracebacks are in the records ({folder}); train them again with --retry-failed"
            + (" or a larger --trial-timeout" if is_late else ""),
            markup=False,
        )


def print_where_to_look(plan: Plan, options: Options, summary: Summary, out: Console) -> None:
    if summary.trained:
        out.print(f"trained {plural(summary.trained, 'trial')} in {_duration(summary.seconds)}")
    folder = options.results_dir / plan.sweep.folder_name
    out.print(f"table: {shown_path(folder / 'results.csv')}", markup=False, soft_wrap=True)
    if (folder / "report.html").exists():
        out.print(f"report: {shown_path(folder / 'report.html')}", markup=False, soft_wrap=True)
    if plan.sweep.is_quick_look:
        full = shown_path(options.results_dir / plan.sweep.name)
        out.print(
            f"a quick look ({plan.sweep.overrides_in_words}): {full} is left to the full sweep",
            markup=False,
            soft_wrap=True,
        )
    out.print(
        f"curves: tensorboard --logdir {shown_path(shlex.quote(str(options.logs_dir)))}", markup=False, soft_wrap=True
    )


def new_table(*columns: str | tuple[str, str], title: str | None = None) -> RichTable:
    table = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title and escape(title), title_justify="left"
    )
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _failure(trial: Trial, record) -> Text:
    message = (record.error["message"].strip() or "no message").splitlines()[0][:300]
    return Text(f"failed: {trial.in_words}: {record.error['type']}: {message}", style="red")


def shown_path(text: str | Path, keep: str = "") -> str:
    """A path or message without characters that could move the cursor, but for those to `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in str(text))


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
