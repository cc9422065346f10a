"""`fmnist_mlp.run(...)`: a sweep from a notebook, a script or a test, and what came of it as pandas frames.

Hidden here: how a dict becomes a sweep file, where progress is shown, what Ctrl-C means. The rest is as in `sweep`.
"""

import dataclasses
import html
import io
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from ruamel.yaml import YAML

from fmnist_mlp import files
from fmnist_mlp.cli.console import Screen
from fmnist_mlp.cli.display import Display, print_failures, print_plan, print_warnings
from fmnist_mlp.cli.options import data_dir as choose_data_dir
from fmnist_mlp.cli.sweep import again_if_images_changed, stop_by_signal
from fmnist_mlp.data.npz import write_npz
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import columns, ranking, table
from fmnist_mlp.results.candidates import candidate_columns, candidate_rows
from fmnist_mlp.runner.loop import Summary, run_sweep
from fmnist_mlp.runner.plan import Options, Plan, make_plan
from fmnist_mlp.runner.workers import Workers
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides

_FROM_PYTHON = "_python"  # folder of the results with the sweep files and images that dicts and arrays became
_WIDTH = 110  # columns of a notebook's cell

_kept = Workers(stay_warm=True)  # by `keep_workers`; they end with this process


def run(
    sweep: str | os.PathLike | Mapping[str, Any] = "architectures.yaml",
    *,
    data: tuple[tuple, tuple] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    only: str | Sequence[str] = (),
    jobs: int | None = None,
    device: str = "auto",
    data_dir: str | os.PathLike | None = None,
    results_dir: str | os.PathLike = "results",
    logs_dir: str | os.PathLike = "logs",
    fresh: bool = False,
    retry_failed: bool = False,
    keep_workers: bool = False,
    progress: bool = True,
) -> "SweepResult":
    """Train what is missing of a sweep and give its results, as `python sweep.py` does.

    It needs no `if __name__ == "__main__"`: workers import nothing of the script or notebook that calls it.

    Args:
        sweep: a sweep file, or its content as a dict; that is written to `<results_dir>/_python/<name>.yaml`, where
            `name` is the dict's own or `sweep`.
        data: for a dict, `((x_train, y_train), (x_test, y_test))` as Keras loads its own: images `(n, height, width)`
            of whole numbers from 0 to 255 and labels from 0; they are kept in `<results_dir>/_python` too.
        seeds, epochs, limit: as `--seeds`, `--epochs` and `--limit`: fewer than the file's are a quick look, with a
            folder of its own.
        only: train only architectures of these names (* and ?).
        jobs: workers; None for one a core (or one a GPU), 0 for this process.
        device: `auto`, `cpu` or `gpu`.
        data_dir: where Fashion-MNIST lies; None for FASHION_MNIST_DIR, Keras's cache or a download.
        fresh, retry_failed: train again what is done, or what failed.
        keep_workers: whether workers stay, warm, for the next `run` of this process: it begins five seconds earlier.
        progress: whether to print the plan and show how far the trials are.

    Raises:
        SweepError: what the user can mend, in one line.
        KeyboardInterrupt: Ctrl-C, or the notebook's stop; what was trained by then is kept.
    """
    if jobs is not None and not (isinstance(jobs, int) and jobs >= 0):
        raise SweepError(f"jobs must be a whole number from 0, or None, got {jobs!r}")
    if device not in ("auto", "cpu", "gpu"):
        raise SweepError(f"device must be auto, cpu or gpu, got {device!r}")
    results_dir = Path(results_dir).expanduser()
    if isinstance(sweep, Mapping):
        sweep = _as_file(sweep, results_dir / _FROM_PYTHON, data)
    elif not isinstance(sweep, str | os.PathLike):
        raise SweepError(f"expected a sweep file or a dict, got {type(sweep).__name__}")
    elif data is not None:
        raise SweepError("data goes with a dict; a sweep file names its own: dataset: {npz: FILE}")
    options = Options(
        results_dir=results_dir,
        logs_dir=Path(logs_dir).expanduser(),
        only=(only,) if isinstance(only, str) else tuple(only),
        jobs=jobs,
        device=device,
        fresh=fresh,
        retry_failed=retry_failed,
    )
    overrides = Overrides(epochs=epochs, seeds=seeds, limit=limit)
    screen = _screen(progress)
    if not keep_workers:
        _kept.close()
    plan, summary = again_if_images_changed(
        lambda: _plan_and_run(sweep, overrides, options, data_dir, screen, keep_workers), screen
    )
    if summary.stopped:
        done, asked_for = len(summary.state.done), len(summary.state.asked_for)
        screen.note(f"stopped: {done} of {asked_for} trials are done and kept; run again to go on")
        raise KeyboardInterrupt
    return SweepResult(plan, summary)


def _plan_and_run(sweep, overrides: Overrides, options: Options, data_dir, screen, keep) -> tuple[Plan, Summary]:
    # Imported here: a run needs pictures only when its trials are done.
    from fmnist_mlp.report import report

    loaded = load_sweep(sweep, overrides)
    data_dir = choose_data_dir(None if data_dir is None else Path(data_dir).expanduser(), loaded.dataset)
    options = dataclasses.replace(options, data_dir=data_dir)
    plan = make_plan(loaded, options, notify=screen.note)
    print_warnings(plan, screen)
    print_plan(plan, screen)
    display = (_NotebookDisplay if _is_notebook() else Display)(plan, screen)
    with stop_by_signal(display), display:
        summary = run_sweep(plan, display, _kept if keep else None)
    print_failures(summary.state, options, screen)
    if not summary.stopped:
        report.report(summary.state, summary.rows, plan.results, source=plan.source)
    return plan, summary


class SweepResult:
    """What came of a sweep; its frames are copies, and change nothing.

    Attributes:
        best: name of the best architecture, by `select_by` of the sweep; None where no trial is done.
        folder: with results.csv, the report, models.
        logs: for `%tensorboard --logdir`.
    """

    def __init__(self, plan: Plan, summary: Summary):
        self._plan, self._state, self._rows = plan, summary.state, summary.rows
        self.folder = plan.results.sweep_folder(plan.sweep)
        self.logs = plan.options.logs_dir

    @property
    def best(self) -> str | None:
        (first, *_) = ranking.best_first(self._rows) or [None]
        return None if first is None or first.behind_best.mean is None else first.architecture

    @cached_property
    def table(self):
        """A row an architecture, as in results.csv: a pandas DataFrame."""
        return _frame(table.RESULTS_COLUMNS, self._rows)

    @cached_property
    def trials(self):
        """A row a trial, as in trials.csv: a pandas DataFrame."""
        final = table.load_final_table(self._plan.results, self._plan.sweep.folder_name)
        return _frame(table.TRIALS_COLUMNS, table.trial_rows(self._state, final.brier if final else {}))

    @cached_property
    def history(self):
        """A row an epoch of each trial, as in history.csv: a pandas DataFrame in long form."""
        return _frame(table.HISTORY_COLUMNS, table.history_rows(self._state))

    @cached_property
    def search(self):
        """A row a candidate of the search, as in search.csv: a pandas DataFrame; None without a search."""
        log = self._state.search
        if log is None:
            return None
        return _frame(candidate_columns(log), candidate_rows(log, log.progress(self._state.records)))

    @property
    def report(self) -> "Report":
        """The page of pictures; it shows itself in a notebook."""
        return Report(self.folder / "report.html")

    def model(self, name: str | None = None):
        """The exported Keras model of an architecture, of the best by default; Keras is imported then.

        Raises:
            SweepError: there is none of that name, or none was exported.
        """
        # Imported here: whoever only looks at tables needs neither.
        from fmnist_mlp.inference.finished import FinishedSweep
        from fmnist_mlp.inference.predictor import load_model

        finished = FinishedSweep(self._plan.options.results_dir, self._plan.sweep.folder_name)
        return load_model(finished.model_path(finished.best() if name is None else name))

    def __repr__(self) -> str:
        names, trials = len(self._rows), len(self._state.done)
        return f"<SweepResult {self._plan.sweep.title}: {names} architectures, {trials} trials done, best {self.best}>"

    def _repr_html_(self) -> str:
        shown = columns.columns_named("architecture", "params", "test_loss", "test_accuracy", "verdict", "trials")
        head = "".join(f"<th>{html.escape(column.title)}</th>" for column in shown)
        rows = [
            "".join(f"<td>{html.escape(column.in_brief(row))}</td>" for column in shown)
            for row in ranking.best_first(self._rows)
        ]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        notes = "<br>".join(map(html.escape, table.notes(self._state, self._rows)))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><small>{notes}</small>"


class Report:
    """A page of pictures in a file."""

    def __init__(self, path: Path):
        self.path = path

    def __repr__(self) -> str:
        return f"open {self.path}"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" width="100%" height="700" style="border: 0"></iframe>'


def _frame(of: Sequence[columns.Column], rows) -> Any:
    """A DataFrame with the columns of a CSV; NaN where a cell is empty."""
    # Imported here: it takes 0.3 s, and not everybody wants frames.
    import pandas

    cells = [[column.read(row) for column in of] for row in rows]
    frame = pandas.DataFrame(cells, columns=[column.name for column in of])
    return frame.astype({name: float for name in frame if frame[name].isna().all()})


# ---- a dict as a sweep file


def _as_file(sweep: Mapping[str, Any], folder: Path, data) -> Path:
    """Written as it would be by hand: mistakes have lines, and `report` and `clean` know it like any other file."""
    content = _plain(sweep)
    if data is not None:
        if "dataset" in content:
            raise SweepError("data and dataset name the images twice: leave one of them out")
        try:
            (x_train, y_train), (x_test, y_test) = data
        except (TypeError, ValueError) as error:
            raise SweepError("data: expected ((x_train, y_train), (x_test, y_test))") from error
        content["dataset"] = {"npz": str(write_npz(folder, x_train, y_train, x_test, y_test))}
    dataset = content.get("dataset")
    if isinstance(dataset, dict):  # paths are from here, not from that file's folder
        content["dataset"] = {key: os.path.abspath(str(value)) for key, value in dataset.items()}  # noqa: PTH100
    name = content.setdefault("name", "sweep")
    stem = name if isinstance(name, str) and name.isidentifier() else "sweep"
    path = folder / f"{stem}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, _yaml_text(content))
    except OSError as error:
        raise SweepError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _yaml_text(content: dict) -> str:
    text, writer = io.StringIO(), YAML(typ="safe", pure=True)
    writer.sort_base_mapping_type_on_output = False  # in the order of the dict
    writer.representer.ignore_aliases = lambda data: True  # a list that stands in two places is written twice
    writer.dump(content, text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """What YAML can say: numpy's numbers, paths, tuples and ranges are taken for what they stand for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise SweepError(
        f"a sweep is made of dicts, lists, texts and numbers, not of {type(value).__name__}: {value!r:.200}"
    )


# ---- progress


def _is_notebook() -> bool:
    return "ipykernel" in sys.modules and "JPY_PARENT_PID" in os.environ


def _screen(progress: bool) -> Screen:
    """Without progress, what needs attention is still said."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else _WIDTH
    common = {"highlight": False, "force_jupyter": False}
    out = Console(width=width, force_interactive=is_terminal or _is_notebook(), quiet=not progress, **common)
    return Screen(out, Console(stderr=True, soft_wrap=True, **common))


class _NotebookDisplay(Display):
    """One output of the cell that is drawn anew; a notebook has no cursor to move."""

    _handle = None

    def begin_drawing(self):
        # Imported here: only a notebook has it.
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def end_drawing(self):
        self._show("")

    def trial_progress(self, trial, message):
        super().trial_progress(trial, message)
        self._show()

    def trial_ended(self, trial, record, outcome):
        super().trial_ended(trial, record, outcome)
        self._show()

    def _show(self, text: str | None = None) -> None:
        if self._handle is None:
            return
        if text is None:
            with self.screen.out.capture() as drawn:
                self.screen.out.print(self._render())
            text = drawn.get()
        self._handle.update({"text/plain": text}, raw=True)
