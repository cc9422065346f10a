"""The command line: arguments in, progress and the table out, an exit code at the end.

Exit codes: 0 every trial is done; 1 some trial failed; 2 the user can mend it (`SweepError`); 130 interrupted.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table as RichTable
from rich.text import Text

from fmnist_mlp import __version__
from fmnist_mlp.engines.pool import EngineError, forget_warning_options
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.store import MOST_MACHINE_FAILURES, Results
from fmnist_mlp.runner import loop as runner
from fmnist_mlp.sweepfile import read as config
from fmnist_mlp.training import preprocess

DONE, SOME_FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
_NARROWEST = 40  # columns of a terminal; COLUMNS may say 1
_SILENCE_SECONDS = 300.0


def main(arguments: list[str] | None = None) -> int:
    """Run `sweep.py` with these arguments (default: the process's own) and return its exit code."""
    with _standard_streams():
        parsed = _parser().parse_args(arguments)
        return _with_errors_for_people(_sweep, parsed, quiet=parsed.quiet)


def verbs(arguments: list[str] | None = None) -> int:
    """Run `python -m fmnist_mlp VERB` with these arguments and return its exit code."""
    with _standard_streams():
        parsed = _verbs_parser().parse_args(arguments)
        return _with_errors_for_people(parsed.run, parsed)


def _with_errors_for_people(command, parsed: argparse.Namespace, quiet: bool = False) -> int:
    """Run `command(parsed, out, err)`; what the user can mend becomes its message, without a traceback."""
    # A notebook's `!` gives its command a terminal, but its cell keeps every line that a display draws anew.
    is_terminal = sys.stdout.isatty() and "JPY_PARENT_PID" not in os.environ
    # A pipe or a file has no width of its own, nor anything that moves, whatever FORCE_COLOR and COLUMNS say.
    out = Console(
        highlight=False, soft_wrap=False, width=None if is_terminal else 120, force_interactive=is_terminal, quiet=quiet
    )
    if out.width < _NARROWEST:
        out.width = _NARROWEST
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        _require_current_folder()
        return command(parsed, out, err)
    except SweepError as error:
        err.print(Text(_shown(str(error), keep="\n")))
        return USER_ERROR
    except EngineError as error:
        err.print(Text(str(error)))
        return SOME_FAILED
    except KeyboardInterrupt:  # before or after the trials: while they run, Ctrl-C asks the engine to stop
        err.print("interrupted")
        return INTERRUPTED


def _require_current_folder() -> None:
    """Workers start in it, and what is said of paths is said from it.

    Raises:
        SweepError: it was deleted under the shell.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise SweepError(f"the current folder is no longer there ({error.strerror}): cd to one that is") from error


@contextlib.contextmanager
def _standard_streams() -> Iterator[None]:
    """Whatever the shell made of them and of Python's warnings: they are there, and what they refuse stops no work.

    Where one is closed (`>&-`), the next file or pipe that is opened would take its number, and with it what
    TensorFlow prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one. Workers have it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Stream(stream) for stream in before)
    try:
        with warnings.catch_warnings():
            forget_warning_options()
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Stream:
    """Standard output or error, to nowhere from the moment on that nobody takes it: `| head`, a full disk, `>&-`.

    A letter that it does not have (± in ASCII) shows as ?.
    """

    def __init__(self, stream):
        self._stream = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._to_nowhere_if_refused():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._to_nowhere_if_refused():
            self._stream.flush()

    @contextlib.contextmanager
    def _to_nowhere_if_refused(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError: closed
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # what it still holds goes there too
                os.close(nowhere)


def _sweep(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    try:
        return _plan_and_run(parsed, out, err)
    except ImagesChanged as error:
        err.print(Text(_shown(f"{error}; the plan is made again"), style="yellow"))
        return _plan_and_run(parsed, out, err)


def _plan_and_run(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    sweep = config.load_sweep(parsed.sweep, _overrides(parsed))
    options = _options(parsed, sweep)
    plan = runner.make_plan(sweep, options, notify=lambda line: err.print(Text(line)))
    _print_warnings(plan, err)
    _print_plan(plan, out)
    if parsed.dry_run:
        _print_stacks(plan, out)
        return DONE

    display = _Display(plan, out, err)
    with _signals(display), display:
        summary = runner.run_sweep(plan, options, display, handle=display.set_engine)

    _print_table(plan, summary.rows, parsed.sort, out)
    _print_failures(plan, options, err)
    if not summary.stopped:  # whoever stops a sweep wants it to end; the next run makes up for it
        # Imported here: after the trials, and only what has changed is drawn.
        from fmnist_mlp.report import report

        report.report(plan.state, summary.rows, plan.results, source=plan.source)
        _print_changed(plan.results, err)
    _print_where_to_look(plan, options, summary, out)
    if summary.stopped:
        again = "python " + shlex.join(sys.argv if sys.argv[0].endswith(".py") else ["sweep.py"])
        err.print(
            f"stopped: {plan.done} of {len(plan.all_trials)} trials are done and kept; go on with: {again}",
            markup=False,
        )
        return INTERRUPTED
    return SOME_FAILED if plan.failed else DONE


def _report(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other verb draws the results.
    from fmnist_mlp.report import report

    sweep = _sweep_to_report(parsed)
    is_wanted = parsed.data_dir is not None or sweep.dataset in ("auto", "fashion_mnist")
    options = runner.Options(results_dir=parsed.results_dir, data_dir=_data_dir(parsed) if is_wanted else None)
    plan = runner.make_plan(sweep, options, notify=lambda line: err.print(Text(line)))
    rows = table.make_table(plan.state, plan.results)
    page = report.report(plan.state, rows, plan.results, source=plan.source, again=True)
    _print_changed(plan.results, err)
    out.print(f"open {_shown(page)}", markup=False, soft_wrap=True)
    return DONE


def _sweep_to_report(parsed: argparse.Namespace) -> config.Sweep:
    """Of a sweep file, or of a sweep or quick look by the name of its folder under the results."""
    known = dict(Results(parsed.results_dir).sweeps())
    named = config.read_folder_name(parsed.sweep)
    if named is None or parsed.sweep not in known or Path(parsed.sweep).is_file():
        return config.load_sweep(parsed.sweep, _overrides(parsed))
    return config.load_sweep(known[parsed.sweep], dataclasses.replace(named[1], **_overrides(parsed).given))


def _clean(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other verb cleans.
    from fmnist_mlp.runner import clean

    def say(line: str) -> None:
        out.print(_shown(line), markup=False, soft_wrap=True)

    results_dir, logs_dir = parsed.results_dir, parsed.logs_dir
    if parsed.empty_trash:
        megabytes = clean.trash_bytes(results_dir) / 1e6
        clean.empty_trash(results_dir)
        say(f"deleted what clean had moved to {results_dir / '_trash'}, {megabytes:.1f} MB")
        return DONE
    leftovers = clean.find_leftovers(results_dir, logs_dir, _data_dir(parsed), gone=parsed.gone)
    for leftover in leftovers.found:
        say(f"{leftover.folder}: {leftover.reason}")
    size = f"{sum(leftover.size_bytes for leftover in leftovers.found) / 1e6:.1f} MB"
    if not leftovers.found:
        say("nothing to clean: every record that a sweep once asked for is asked for by a sweep file")
    elif parsed.yes:
        trash = clean.move_to_trash(leftovers, results_dir, logs_dir)
        back = f"cp -a {shlex.quote(f'{trash}/results/.')} {shlex.quote(str(results_dir))}"
        say(f"moved to {trash}: {size}; to bring it back: {back}; to delete it for good: clean --empty-trash")
    else:
        say(f"{_plural(len(leftovers.found), 'place')}, {size}; move them to {results_dir / '_trash'} with --yes")
    if leftovers.unknown:
        say(f"{_plural(leftovers.unknown, 'record')} stay: no sweep that is known here is known to have asked for them")
    if not parsed.yes and (megabytes := clean.trash_bytes(results_dir) / 1e6):
        say(f"{results_dir / '_trash'} holds {megabytes:.1f} MB; delete them for good with --empty-trash")
    return DONE


def _explore(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command looks at images.
    from fmnist_mlp.data import source as data
    from fmnist_mlp.report import explore

    def notify(line: str) -> None:
        err.print(Text(line))

    if parsed.idx is not None and (parsed.synthetic or parsed.data_dir is not None):
        raise SweepError("--idx FOLDER goes with neither --synthetic nor --data-dir: each names the images")
    dataset = config.IdxFolder(parsed.idx) if parsed.idx is not None else "synthetic" if parsed.synthetic else "auto"
    source = data.find_data(dataset, _data_dir(parsed) if dataset == "auto" else parsed.data_dir, notify=notify)
    if source.fallback_reason:
        err.print(Text(f"STAND-IN DATA: {source.fallback_reason}", style="bold yellow"))
    limit = "" if parsed.limit is None else f"+limit-{parsed.limit}"  # a quick look, as a sweep's
    folder = parsed.results_dir / "_explore" / f"{source.dataset.replace(':', '-')}{limit}"
    page = explore.explore(source, folder, sample=parsed.sample, limit=parsed.limit, seed=parsed.seed, notify=notify)
    out.print(f"open {page}", markup=False, soft_wrap=True)
    return DONE


def _predict(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command reads pictures.
    from fmnist_mlp.inference import decoder, pictures
    from fmnist_mlp.inference import finished as predict

    chosen = predict.choose_model(parsed.results_dir, parsed.sweep, parsed.model)
    _print_caveats(chosen.name, chosen.caveats, err)
    columns = _new_table("image", "class", ("probability", "right"), "then", "how it was read", title=chosen.name)
    failed = 0
    with decoder.Decoder() as reader:  # starts while the model is loaded
        predictor = predict.Predictor(chosen.path, chosen.class_names)
        for path in parsed.images:
            try:
                prepared = reader.load_image(path, predictor.shape, parsed.invert)
            except pictures.UnreadableImage as error:
                failed += 1
                err.print(Text(_shown(error), style="red"))
                if parsed.json:
                    _print_json({"file": str(path), "error": str(error)}, out)
                continue
            top = predictor.predict(prepared.pixels)[: parsed.top]
            (name, probability), *others = top
            if parsed.json:
                said = {"file": str(path), "model": chosen.name, "class": name, "probability": probability}
                said["top"] = [{"class": name, "probability": probability} for name, probability in top]
                _print_json(said | {"inverted": prepared.inverted, "note": prepared.note}, out)
            else:
                then = ", ".join(f"{name} {probability:.4f}" for name, probability in others)
                cells = [_shown(path), name, f"{probability:.4f}", then, prepared.note]
                columns.add_row(*map(Text, cells))
    if columns.row_count:
        out.print(columns)
    return USER_ERROR if failed else DONE


def _print_caveats(model: str, caveats: Sequence[str], err: Console) -> None:
    for line in caveats:
        err.print(Text(_shown(f"{model}: {line}"), style="yellow"))


def _print_json(said: dict, out: Console) -> None:
    """One line; rich would wrap it and take `:boot:` in a file's name for a picture."""
    out.print(Text(json.dumps(said)), soft_wrap=True)


def _export(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command writes other formats of a model.
    from fmnist_mlp.inference import export

    formats = tuple(dict.fromkeys(parsed.format))
    exported = export.export_model(
        parsed.results_dir, parsed.sweep, parsed.name, parsed.to, formats, data_dir=_data_dir(parsed)
    )
    _print_caveats(parsed.name, exported.caveats, err)
    for check in exported.checks:
        out.print(Text(f"{exported.folder / check.file}: {check.in_words()}"), soft_wrap=True)
    out.print(Text(f"how to load it: {exported.folder / export.CARD_FILE}"), soft_wrap=True)
    return DONE


def _app(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: the page needs the extra `app`.
    from fmnist_mlp.inference import app

    def notify(line: str) -> None:
        err.print(Text(line, style="yellow"))

    page = app.Page(parsed.results_dir, parsed.sweep, data_dir=_data_dir(parsed), notify=notify)
    app.serve(page, parsed.host, parsed.port, notify, ready=lambda address: out.print(f"open {address}", markup=False))
    return DONE


# ---- arguments ----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Train every stack of a sweep file on Fashion-MNIST and write a table of parameters against "
        "test loss and accuracy. Only what has changed since the last run is trained.",
        epilog="results: results/<sweep>/results.csv; curves: tensorboard --logdir logs",
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        type=_expanded,
        default="architectures.yaml",
        metavar="SWEEP.yaml",
        help="default: %(default)s",
    )
    parser.add_argument("--version", action="version", version=f"fmnist_mlp {__version__}")
    what = parser.add_argument_group(
        "what to train",
        "A quick look has a table, models and curves of its own, in results/<sweep>+epochs-2+limit-1000+seeds-1 and a "
        "folder of that name in logs; those of the full sweep stay as they are.",
    )
    what.add_argument(
        "--dry-run", action="store_true", help="check the file, print the plan with exact parameter counts, stop"
    )
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="train only these architectures (* and ?; repeatable)",
    )
    what.add_argument("--epochs", type=_count, metavar="N", help="epochs of every architecture: a quick look")
    what.add_argument("--seeds", type=_count, metavar="N", help="seeds 0 to N-1; fewer than the file's: a quick look")
    what.add_argument("--limit", type=_count, metavar="N", help="use only N training images: a quick look")
    what.add_argument("--fresh", action="store_true", help="train again what is done already")
    what.add_argument("--retry-failed", action="store_true", help="train again what failed")
    what.add_argument("--fail-fast", action="store_true", help="stop at the first trial that fails")
    what.add_argument(
        "--plain-fit", action="store_true", help="Keras's own loop over minibatches instead of the compiled epoch"
    )
    how = parser.add_argument_group("how to train")
    how.add_argument(
        "--jobs",
        type=_from_zero,
        metavar="N",
        help="workers; default one a core (or one a GPU); 0: in this process, for a debugger",
    )
    how.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="workers on this machine, or on a Ray cluster (docs/cluster.md); default: %(default)s",
    )
    how.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster's head; default RAY_ADDRESS, else Ray on this machine; implies --engine ray",
    )
    how.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="default: %(default)s")
    how.add_argument("--trial-timeout", type=_seconds, metavar="SECONDS", help="give a trial up after so long")
    how.add_argument(
        "--checkpoint-every",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how much of a trial an interruption may cost; default: %(default)g",
    )
    where = parser.add_argument_group("where things are")
    where.add_argument(
        "--data-dir",
        type=_folder,
        metavar="DIR",
        help="Fashion-MNIST's four files (default: FASHION_MNIST_DIR, Keras's cache, a download)",
    )
    _add_output_folders(where)
    parser.add_argument(
        "--sort",
        choices=[column.name for column in table.RESULTS_COLUMNS],
        metavar="COLUMN",
        help="of results.csv, to sort the printed table by, best first; default: what the best is selected by",
    )
    parser.add_argument("--quiet", action="store_true", help="print only what needs attention")
    return parser


def _verbs_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_mlp",
        description="What can be done beside training: with the images, with finished sweeps.",
    )
    verb = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    clean = verb.add_parser(
        "clean", help="list records and logs that no sweep file asks for any more, or move them away"
    )
    clean.add_argument("--yes", action="store_true", help="move them to results/_trash")
    clean.add_argument("--empty-trash", action="store_true", help="delete for good what --yes has moved there")
    clean.add_argument(
        "--gone",
        action="append",
        default=[],
        metavar="SWEEP",
        help="this sweep is gone for good, though its file or what is remembered of it cannot be reached (repeatable)",
    )
    clean.add_argument("--data-dir", type=_folder, metavar="DIR", help="as in sweep.py")
    _add_output_folders(clean)
    clean.set_defaults(run=_clean)
    report = verb.add_parser("report", help="pictures and a page of a sweep's results, from what is trained already")
    report.add_argument(
        "sweep",
        nargs="?",
        type=_expanded,
        default="architectures.yaml",
        metavar="SWEEP.yaml",
        help="or the name of a folder in results, also that of a quick look; default: %(default)s",
    )
    for name, what in (("epochs", "epochs"), ("seeds", "seeds"), ("limit", "training images")):
        report.add_argument(f"--{name}", type=_count, metavar="N", help=f"{what}, as the sweep was run with")
    report.add_argument("--data-dir", type=_folder, metavar="DIR", help="as in sweep.py")
    _add_results_folder(report)
    report.set_defaults(run=_report)
    explore = verb.add_parser("explore", help="pictures of the images: classes, means, PCA, t-SNE, look-alikes")
    explore.add_argument("--idx", type=_folder, metavar="FOLDER", help="a data set of your own, in four IDX files")
    explore.add_argument("--synthetic", action="store_true", help="the generated stand-in")
    explore.add_argument("--data-dir", type=_folder, metavar="DIR", help="as in sweep.py")
    explore.add_argument(
        "--sample", type=_count, default=5000, metavar="N", help="images in maps and pairs; default: %(default)s"
    )
    explore.add_argument("--limit", type=_count, metavar="N", help="use only N training images")
    explore.add_argument(
        "--seed", type=_from_zero, default=0, metavar="N", help="which examples and sample; default: %(default)s"
    )
    _add_results_folder(explore)
    explore.set_defaults(run=_explore)
    predict = verb.add_parser("predict", help="classify images of any kind with an exported model")
    predict.add_argument("images", nargs="+", type=_file, metavar="IMAGE", help="PNG, JPEG, GIF, WebP, TIFF, ...")
    predict.add_argument(
        "--model",
        type=_expanded,
        metavar="NAME|PATH",
        help="an architecture of the sweep, or a .keras file; default: the best",
    )
    _add_sweep_name(predict)
    predict.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="exchange light and dark; the network wants light on black; default: by the background",
    )
    predict.add_argument(
        "--top", type=_count, default=3, metavar="N", help="so many classes of each image; default: %(default)s"
    )
    predict.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    _add_results_folder(predict)
    predict.set_defaults(run=_predict)
    export = verb.add_parser("export", help="an exported model in other formats, checked, with a card that explains it")
    export.add_argument("name", metavar="NAME", help="the architecture")
    export.add_argument("--to", type=_folder, required=True, metavar="DIR", help="a new or empty folder")
    export.add_argument(
        "--format",
        nargs="+",
        choices=("keras", "savedmodel", "onnx", "litert"),
        default=["keras"],
        help="one or several; default: keras",
    )
    _add_sweep_name(export)
    export.add_argument("--data-dir", type=_folder, metavar="DIR", help="as in sweep.py")
    _add_results_folder(export)
    export.set_defaults(run=_export)
    app = verb.add_parser("app", help="a page on this machine: upload or draw an image, see what the models say")
    app.add_argument("--port", type=_port, metavar="N", help="default: the first free one from 7860")
    app.add_argument("--host", default="127.0.0.1", help="who can reach the page; default: %(default)s, this machine")
    _add_sweep_name(app)
    app.add_argument("--data-dir", type=_folder, metavar="DIR", help="as in sweep.py")
    _add_results_folder(app)
    app.set_defaults(run=_app)
    return parser


def _add_output_folders(parser) -> None:
    parser.add_argument("--logs-dir", type=_folder, default=Path("logs"), metavar="DIR", help="default: %(default)s")
    _add_results_folder(parser)


def _add_results_folder(parser) -> None:
    parser.add_argument(
        "--results-dir", type=_folder, default=Path("results"), metavar="DIR", help="default: %(default)s"
    )


def _add_sweep_name(parser) -> None:
    parser.add_argument(
        "--sweep",
        default="architectures",
        metavar="NAME",
        help="a folder of the results, such as that of a quick look, architectures+epochs-2; default: %(default)s",
    )


def _data_dir(parsed: argparse.Namespace) -> Path | None:
    """The option, else the variable."""
    from_shell = os.environ.get("FASHION_MNIST_DIR")
    return parsed.data_dir or (Path(from_shell) if from_shell else None)


def _overrides(parsed: argparse.Namespace) -> config.Overrides:
    return config.Overrides(epochs=parsed.epochs, seeds=parsed.seeds, limit=parsed.limit)


def _options(parsed: argparse.Namespace, sweep: config.Sweep) -> runner.Options:
    engine = "ray" if parsed.ray_address else parsed.engine
    if engine == "ray" and parsed.jobs == 0:
        raise SweepError("--jobs 0 trains in this process, --engine ray elsewhere: leave one of them out")
    # The variable says where Fashion-MNIST lies, in case it is wanted; only the option insists on it.
    is_wanted = parsed.data_dir is not None or sweep.dataset in ("auto", "fashion_mnist")
    return runner.Options(
        results_dir=parsed.results_dir,
        logs_dir=parsed.logs_dir,
        data_dir=_data_dir(parsed) if is_wanted else None,
        only=tuple(parsed.only),
        jobs=parsed.jobs,
        device=parsed.device,
        plain_fit=parsed.plain_fit,
        fresh=parsed.fresh,
        retry_failed=parsed.retry_failed,
        fail_fast=parsed.fail_fast,
        trial_timeout=parsed.trial_timeout,
        engine=engine,
        ray_address=parsed.ray_address,
        checkpoint_seconds=parsed.checkpoint_every,
    )


def _folder(text: str) -> Path:
    """A folder that need not be there; `~` is the home folder also where the shell leaves it: `--results-dir=~/r`."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}; the current one is .")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~ of nobody, or of somebody without a home
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _file(text: str) -> Path:
    return Path(_expanded(text))


def _expanded(text: str) -> str:
    """As it is, but for `~` in front of a path; a file's own name may begin with one."""
    with contextlib.suppress(RuntimeError):
        return str(Path(text).expanduser()) if text.startswith("~") else text
    return text


def _count(text: str) -> int:
    return _at_least(1, text)


def _from_zero(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
    return number


def _port(text: str) -> int:
    port = _count(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {port}")
    return port


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds


# ---- before -------------------------------------------------------------------------------------------------------


def _print_warnings(plan: runner.Plan, err: Console) -> None:
    if plan.source.fallback_reason:
        err.print(Text(f"STAND-IN DATA: {plan.source.fallback_reason}", style="bold yellow"))
        err.print(Text("The generated images are not Fashion-MNIST: every row says dataset synthetic.", style="yellow"))
    for line in [*plan.info.warnings, *plan.doubts, *plan.damaged]:
        err.print(Text(line, style="yellow"))
    if plan.jobs_note:
        err.print(Text(plan.jobs_note, style="yellow"))


def _print_plan(plan: runner.Plan, out: Console) -> None:
    info, counts = plan.info, [f"{plan.done} done"]
    if plan.failed:
        counts.append(f"{len(plan.failed)} failed before")
    counts.append(f"{len(plan.to_train)} to train")
    if plan.over_budget:
        counts.append(f"{_plural(len(plan.over_budget), 'architecture')} over budget")
    place = "drawn here" if plan.source.folder is None else _shown(plan.source.folder)
    train_images = min(plan.sweep.limit or info.train_images, info.train_images)
    images = f"{train_images:,} training and {info.test_images:,} test images"
    out.print(
        f"[bold]{escape(plan.sweep.title)}[/]: {_listed_in_words(plan.sweep)}, "
        f"{_plural(len(plan.all_trials), 'trial')}: {', '.join(counts)}",
        soft_wrap=True,
    )
    if plan.sweep.refit and not plan.refits:
        out.print(f"then the best by {plan.sweep.select_by} again, on all training images (refit)")
    if plan.sweep.grid_stacks:
        twice = plan.sweep.grid_duplicates
        out.print(
            f"grid: {_plural(plan.sweep.grid_stacks, 'stack')}"
            + (f", {twice:,} of them listed already or the same as another" if twice else "")
        )
    out.print(
        f"{escape(_shown(info.dataset))}: {images} of {'x'.join(map(str, info.image_shape))} ({escape(place)})",
        soft_wrap=True,
    )
    for change in plan.changes:
        out.print(change, markup=False, soft_wrap=True)


def _listed_in_words(sweep: config.Sweep) -> str:
    """`4 architectures`, `4 architectures and 3 baselines`, `3 baselines`."""
    baselines = sum(isinstance(architecture, config.Baseline) for architecture in sweep.architectures)
    counts = {"architecture": len(sweep.architectures) - baselines, "baseline": baselines}
    return " and ".join(_plural(number, noun) for noun, number in counts.items() if number)


def _print_stacks(plan: runner.Plan, out: Console) -> None:
    columns = _new_table(
        "architecture", "layers", ("parameters", "right"), ("FLOPs an image", "right"), ("to train", "right")
    )
    for architecture in plan.sweep.architectures:
        size = plan.sizes[architecture.name]
        to_train = sum(trial.architecture is architecture for trial in plan.to_train)
        is_open = size.params is not None and preprocess.has_open_size(architecture.training.preprocess)
        at_most = "at most " if is_open else ""
        columns.add_row(
            escape(architecture.name),
            escape(architecture.in_short),
            at_most + table.count_in_words(size.params),
            at_most + table.count_in_words(size.flops),
            "over budget" if architecture.name in plan.over_budget else str(to_train),
        )
    out.print(columns)


# ---- during -------------------------------------------------------------------------------------------------------


class _Display(runner.Listener):
    """A bar for the sweep and a line for each running trial; plain lines where there is no terminal."""

    def __init__(self, plan: runner.Plan, out: Console, err: Console):
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

    def trials_added(self, trials: list[config.Trial]):
        self._cost |= {trial.fingerprint: self.plan.train_cost(trial) for trial in trials}
        self._trials += len(trials)
        name = escape(trials[0].architecture.name)
        self.out.print(f"best by {self.plan.sweep.select_by}: {name}; training it again on all images")

    def worker_ready(self, worker: int, environment: dict[str, str]):
        if self._started is None:
            self._started = time.monotonic()  # from here on time is spent on trials
        if not self._device_said:
            self._device_said = True
            workers = _plural(self.plan.jobs, "worker") if self.plan.jobs else "in this process"
            self.out.print(
                f"device: {escape(environment['device'])}, {workers}; TensorFlow {environment['tensorflow']}, "
                f"Keras {environment['keras']}"
            )

    def notice(self, line: str):
        self._say(Text(_shown(line), style="yellow"))

    def trial_progress(self, trial: config.Trial, message: dict):
        self._spent[trial.fingerprint] = self._cost[trial.fingerprint] * message["epoch"] / message["epochs"]
        line = f"{trial.in_words}: {'fitting' if isinstance(trial.architecture, config.Baseline) else 'compiling'}"
        if message["epoch"]:
            measure = "accuracy" if trial.is_refit else "val_accuracy"
            line = f"{trial.in_words}: epoch {message['epoch']}/{message['epochs']}, loss {message['loss']:.4f}, "
            line += f"{measure} {message[measure]:.4f}"
        self._running[trial.fingerprint] = line
        self._heard[trial.fingerprint] = time.monotonic()

    def trial_ended(self, trial: config.Trial, record, outcome):
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


@contextlib.contextmanager
def _signals(display: _Display):
    """While trials run, Ctrl-C and SIGTERM mean stop, not KeyboardInterrupt."""

    def stop(number, frame):
        display.ask_to_stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---- after --------------------------------------------------------------------------------------------------------


def _print_table(plan: runner.Plan, rows: list[dict], sort_by: str | None, out: Console) -> None:
    select_by = plan.sweep.select_by
    names = ["architecture", ("parameters", "right"), ("test loss", "right"), ("test accuracy", "right"), "verdict"]
    has_refits = any(row["refit_trials"] for row in rows)
    if is_wide := out.width >= 110:
        names[4:4] = [(select_by.replace("_", " "), "right")]
        names += [("trials", "right")] if has_refits else ["Pareto", ("trials", "right")]  # a line holds so much
    names += [("refit: test accuracy", "right")] if has_refits else []
    columns = _new_table(*names, title=f"{plan.sweep.title} on {_shown(plan.info.dataset)}")
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


def _print_changed(results: Results, err: Console) -> None:
    for line in results.take_notices():
        err.print(Text(_shown(line), style="yellow"))


def _print_failures(plan: runner.Plan, options: runner.Options, err: Console) -> None:
    """Every failure, and what next: those that are the machine's are no results."""
    records = [plan.records[trial.fingerprint] for trial in plan.failed]
    for trial, record in zip(plan.failed, records, strict=True):
        err.print(_failure(trial, record))
    again = sum(record.is_tried_again() for record in records)
    if again:
        err.print(
            f"{_plural(again, 'failure')} of the machine (memory, disk, a killed worker), not of the trial: the next "
            f"run tries again by itself, up to {MOST_MACHINE_FAILURES} in a row; fewer --jobs need less memory"
        )
    if len(records) > again:
        folder = _shown(options.results_dir / "_records")
        is_late = any("limit_seconds" in record.error for record in records)
        err.print(
            f"tracebacks are in the records ({folder}); train them again with --retry-failed"
            + (" or a larger --trial-timeout" if is_late else ""),
            markup=False,
        )


def _print_where_to_look(plan: runner.Plan, options: runner.Options, summary: runner.Summary, out: Console) -> None:
    if summary.trained:
        out.print(f"trained {_plural(summary.trained, 'trial')} in {_duration(summary.seconds)}")
    folder = options.results_dir / plan.sweep.folder_name
    out.print(f"table: {_shown(folder / 'results.csv')}", markup=False, soft_wrap=True)
    if (folder / "report.html").exists():
        out.print(f"report: {_shown(folder / 'report.html')}", markup=False, soft_wrap=True)
    if plan.sweep.is_quick_look:
        full = _shown(options.results_dir / plan.sweep.name)
        out.print(
            f"a quick look ({plan.sweep.overrides_in_words}): {full} is left to the full sweep",
            markup=False,
            soft_wrap=True,
        )
    out.print(
        f"curves: tensorboard --logdir {_shown(shlex.quote(str(options.logs_dir)))}", markup=False, soft_wrap=True
    )


def _new_table(*columns: str | tuple[str, str], title: str | None = None) -> RichTable:
    table = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title and escape(title), title_justify="left"
    )
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _failure(trial: config.Trial, record) -> Text:
    message = (record.error["message"].strip() or "no message").splitlines()[0][:300]
    return Text(f"failed: {trial.in_words}: {record.error['type']}: {message}", style="red")


def _shown(text: str | Path, keep: str = "") -> str:
    """A path or message without characters that could move the cursor, but for those to `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in str(text))


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
