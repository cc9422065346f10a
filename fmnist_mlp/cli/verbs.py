"""`python -m fmnist_mlp VERB`, or `fmnist-mlp VERB`: what can be done with a finished sweep, and the sweep itself."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from fmnist_mlp.cli import sweep
from fmnist_mlp.cli.console import DONE, USER_ERROR, Screen, is_installed, standard_streams, with_errors_for_people
from fmnist_mlp.cli.display import new_table, print_changed, warn_of_stand_in
from fmnist_mlp.cli.options import (
    DATA_DIR,
    LOGS_DIR,
    RESULTS_DIR,
    add_options,
    data_dir_argument,
    expanded_path,
    file_argument,
    flag,
    folder_argument,
    from_zero,
    number,
    option,
    overrides_from,
    port_number,
    sweep_file,
)
from fmnist_mlp.data.source import find_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.inference.predictor import Predictor, choose_model
from fmnist_mlp.results import table
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.settings import IdxFolder, NpzFile
from fmnist_mlp.sweepfile.sweep import Sweep, read_folder_name
from fmnist_mlp.words import counted, printable


def verbs(arguments: list[str] | None = None) -> int:
    """Run `python -m fmnist_mlp VERB` with these arguments and return its exit code; without any, show the help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [_SWEEP]:
        return sweep.main(arguments[1:], f"{_program()} {_SWEEP}")
    with standard_streams():
        parsed = _parser().parse_args(arguments or ["--help"])
        return with_errors_for_people(parsed.run, parsed)


def _report(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: no other verb draws the results.
    from fmnist_mlp.report import report

    sweep = _sweep_to_report(parsed)
    options = Options(results_dir=parsed.results_dir, data_dir=data_dir_argument(parsed, sweep.dataset))
    plan = make_plan(sweep, options, notify=screen.note)
    rows = table.make_table(plan.state, plan.results)
    page = report.report(plan.state, rows, plan.results, source=plan.source, again=True)
    print_changed(plan.results, screen)
    screen.say(f"open {page}")
    return DONE


def _sweep_to_report(parsed: argparse.Namespace) -> Sweep:
    """Of a sweep file, or of a sweep or quick look by the name of its folder under the results."""
    sweep_files = dict(Results(parsed.results_dir).registry.sweeps())
    name_and_overrides = read_folder_name(parsed.sweep)
    if name_and_overrides is None or parsed.sweep not in sweep_files or Path(parsed.sweep).is_file():
        return load_sweep(parsed.sweep, overrides_from(parsed))
    overrides = dataclasses.replace(name_and_overrides[1], **overrides_from(parsed).given)
    return load_sweep(sweep_files[parsed.sweep], overrides)


def _clean(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: no other verb cleans.
    from fmnist_mlp.runner import clean

    results_dir, logs_dir, trash = parsed.results_dir, parsed.logs_dir, parsed.results_dir / "_trash"
    if parsed.empty_trash:
        megabytes = clean.trash_bytes(results_dir) / 1e6
        clean.empty_trash(results_dir)
        screen.say(f"deleted what clean had moved to {trash}, {megabytes:.1f} MB")
        return DONE
    leftovers, unknown = clean.find_leftovers(results_dir, logs_dir, data_dir_argument(parsed), gone=parsed.gone)
    for leftover in leftovers:
        screen.say(f"{leftover.folder}: {leftover.reason}")
    size = f"{sum(leftover.size_bytes for leftover in leftovers) / 1e6:.1f} MB"
    if not leftovers:
        screen.say("nothing to clean: every record that a sweep once asked for is asked for by a sweep file")
    elif parsed.yes:
        moved_to = clean.move_to_trash(leftovers, results_dir, logs_dir)
        back = f"cp -a {shlex.quote(f'{moved_to}/results/.')} {shlex.quote(str(results_dir))}"
        screen.say(f"moved to {moved_to}: {size}; to bring it back: {back}; to delete it for good: clean --empty-trash")
    else:
        screen.say(f"{counted(len(leftovers), 'place')}, {size}; move them to {trash} with --yes")
    if unknown:
        screen.say(f"{counted(unknown, 'record')} stay: no sweep that is known here is known to have asked for them")
    if not parsed.yes and (megabytes := clean.trash_bytes(results_dir) / 1e6):
        screen.say(f"{trash} holds {megabytes:.1f} MB; delete them for good with --empty-trash")
    return DONE


def _explore(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: no other command looks at images.
    from fmnist_mlp.report import explore

    own = [make(path) for make, path in ((IdxFolder, parsed.idx), (NpzFile, parsed.npz)) if path is not None]
    if len(own) + parsed.synthetic + (parsed.data_dir is not None) > 1:
        raise SweepError("use one of --idx FOLDER, --npz FILE, --synthetic and --data-dir: each names the images")
    dataset = own[0] if own else "synthetic" if parsed.synthetic else "auto"
    source = find_data(dataset, data_dir_argument(parsed, dataset), notify=screen.note)
    warn_of_stand_in(source, screen)
    limit = "" if parsed.limit is None else f"+limit-{parsed.limit}"  # a quick look, as a sweep's
    folder = parsed.results_dir / "_explore" / f"{source.dataset.replace(':', '-')}{limit}"
    how = {"sample": parsed.sample, "limit": parsed.limit, "seed": parsed.seed}
    page = explore.explore(source, folder, **how, notify=screen.note)
    screen.say(f"open {page}")
    return DONE


def _predict(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: no other command reads pictures.
    from fmnist_mlp.inference import decoder, pictures

    chosen = choose_model(parsed.results_dir, parsed.sweep, parsed.model)
    _print_caveats(chosen.name, chosen.caveats, screen)
    columns = new_table("image", "class", ">probability", "then", "how it was read", title=chosen.name)
    failed = 0
    with decoder.Decoder() as reader:  # starts while the model is loaded
        predictor = Predictor(chosen.path, chosen.class_names)
        for path in parsed.images:
            try:
                prepared = reader.load_image(path, predictor.shape, parsed.invert)
            except pictures.UnreadableImage as error:
                failed += 1
                screen.warn(str(error), style="red")
                if parsed.json:
                    _print_json({"file": str(path), "error": str(error)}, screen)
                continue
            top = predictor.predict(prepared.pixels)[: parsed.top]
            (name, probability), *others = top
            if parsed.json:
                answer = {"file": str(path), "model": chosen.name, "class": name, "probability": probability}
                answer["top"] = [{"class": name, "probability": probability} for name, probability in top]
                _print_json(answer | {"inverted": prepared.inverted, "note": prepared.note}, screen)
            else:
                then = ", ".join(f"{name} {probability:.4f}" for name, probability in others)
                cells = [printable(str(path)), name, f"{probability:.4f}", then, prepared.note]
                columns.add_row(*map(Text, cells))
    if columns.row_count:
        screen.out.print(columns)
    return USER_ERROR if failed else DONE


def _print_caveats(model: str, caveats: Sequence[str], screen: Screen) -> None:
    for line in caveats:
        screen.warn(f"{model}: {line}")


def _print_json(answer: dict, screen: Screen) -> None:
    """One line; rich would wrap it and take `:boot:` in a file's name for a picture."""
    screen.say(json.dumps(answer))


def _export(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: no other command writes other formats of a model.
    from fmnist_mlp.inference import export

    formats = tuple(dict.fromkeys(parsed.format))
    exported = export.export_model(
        parsed.results_dir, parsed.sweep, parsed.name, parsed.to, formats, data_dir=data_dir_argument(parsed)
    )
    _print_caveats(parsed.name, exported.caveats, screen)
    for check in exported.checks:
        screen.say(f"{exported.folder / check.file}: {check.in_words()}")
    screen.say(f"how to load it: {exported.folder / export.CARD_FILE}")
    return DONE


def _spread(parsed: argparse.Namespace, screen: Screen) -> int:
    rows = FinishedSweep(parsed.results_dir, parsed.sweep).rows()
    parts = {row.architecture: table.spread_of([row], fewest_seeds=2) for row in rows}
    if not any(parts.values()):
        raise SweepError(f"{parsed.sweep}: {_why_no_spread(rows)}")
    titles = ("architecture", ">seeds", ">on these images", ">between models", ">luck", ">real")
    columns = new_table(*titles, title="Spread of test accuracy over seeds")
    for row in rows:
        if part := parts[row.architecture]:
            columns.add_row(*map(Text, [row.architecture, str(part.df + 1), *_spread_cells(part)]))
    if sum(part is not None for part in parts.values()) > 1:
        pooled = table.spread_of(rows, fewest_seeds=2)
        columns.add_row(*map(Text, ["all together", "", *_spread_cells(pooled)]))
    screen.out.print(columns)
    if left_out := [name for name, part in parts.items() if part is None]:
        screen.say(f"left out, with fewer than two seeds or without predictions: {', '.join(left_out)}")
    screen.say(
        "Standard deviations with 95 % intervals; the squares of models and luck add up to that on these images. Luck "
        "is what other test images would not repeat; real is the models' share of the variance."
    )
    if any(part and part.is_negative for part in parts.values()):
        screen.say("0.0000 between models: the estimate came out below nothing, so luck explains all that was seen.")
    return DONE


def _why_no_spread(rows) -> str:
    seeds = max((row.test_accuracy.n for row in rows), default=0)
    if seeds == 0:
        return "no trial is done yet: run python sweep.py first"
    if seeds == 1:
        return "one seed has no spread: ask for more in the sweep file (seeds: 5) and run python sweep.py"
    return "the predictions of its trials are missing or damaged: run python sweep.py again"


def _spread_cells(part) -> list[str]:
    def with_bounds(value, bounds):
        return f"{value:.4f} ({bounds.low:.4f} to {bounds.high:.4f})"

    on_images, models = with_bounds(part.std, part.std_bounds), with_bounds(part.models, part.models_bounds)
    return [on_images, models, f"{part.luck:.4f}", f"{100 * part.share_of_models:.0f} %"]


def _app(parsed: argparse.Namespace, screen: Screen) -> int:
    # Imported here: the page needs the extra `app`.
    from fmnist_mlp.inference import app

    page = app.Page(parsed.results_dir, parsed.sweep, data_dir=data_dir_argument(parsed), notify=screen.warn)
    app.serve(page, parsed.host, parsed.port, screen.warn, ready=lambda address: screen.say(f"open {address}"))
    return DONE


_SWEEP = "sweep"
_SWEEP_NAME = option(
    "--sweep",
    default="architectures",
    metavar="NAME",
    help="a folder of the results, such as that of a quick look, architectures+epochs-2; default: %(default)s",
)
# By name: what does it, a line on it, its options.
_VERBS = {
    "clean": (
        _clean,
        "list records and logs that no sweep file asks for any more, or move them away",
        flag("--yes", "move them to results/_trash"),
        flag("--empty-trash", "delete for good what --yes has moved there"),
        option(
            "--gone",
            action="append",
            default=[],
            metavar="SWEEP",
            help="this sweep is gone for good, though its file or what is remembered of it cannot be reached "
            "(repeatable)",
        ),
        DATA_DIR,
        LOGS_DIR,
        RESULTS_DIR,
    ),
    "report": (
        _report,
        "pictures and a page of a sweep's results, from what is trained already",
        sweep_file("or the name of a folder in results, also that of a quick look; default: %(default)s"),
        number("--epochs", "epochs, as the sweep was run with"),
        number("--seeds", "seeds, as the sweep was run with"),
        number("--limit", "training images, as the sweep was run with"),
        DATA_DIR,
        RESULTS_DIR,
    ),
    "explore": (
        _explore,
        "pictures of the images: classes, means, PCA, t-SNE, look-alikes",
        option("--idx", type=folder_argument, metavar="FOLDER", help="a data set of your own, in four IDX files"),
        option("--npz", type=file_argument, metavar="FILE", help="a data set of your own, in one file of numpy's"),
        flag("--synthetic", "the generated stand-in"),
        DATA_DIR,
        number("--sample", "images in maps and pairs; default: %(default)s", default=5000),
        number("--limit", "use only N training images"),
        number("--seed", "which examples and sample; default: %(default)s", from_zero, default=0),
        RESULTS_DIR,
    ),
    "predict": (
        _predict,
        "classify images of any kind with an exported model",
        option("images", nargs="+", type=file_argument, metavar="IMAGE", help="PNG, JPEG, GIF, WebP, TIFF, ..."),
        option(
            "--model",
            type=expanded_path,
            metavar="NAME|PATH",
            help="an architecture of the sweep, or a .keras file; default: the best",
        ),
        _SWEEP_NAME,
        option(
            "--invert",
            choices=("auto", "yes", "no"),
            default="auto",
            help="exchange light and dark; the network wants light on black; default: by the background",
        ),
        number("--top", "so many classes of each image; default: %(default)s", default=3),
        flag("--json", "one JSON object a line instead of the table"),
        RESULTS_DIR,
    ),
    "export": (
        _export,
        "an exported model in other formats, checked, with a card that explains it",
        option("name", metavar="NAME", help="the architecture"),
        option("--to", type=folder_argument, required=True, metavar="DIR", help="a new or empty folder"),
        option(
            "--format",
            nargs="+",
            choices=("keras", "savedmodel", "onnx", "litert"),
            default=["keras"],
            help="one or several; default: keras",
        ),
        _SWEEP_NAME,
        DATA_DIR,
        RESULTS_DIR,
    ),
    "spread": (
        _spread,
        "how much of the spread over seeds is real, how much luck on these test images",
        option(
            "sweep",
            nargs="?",
            default="architectures",
            metavar="SWEEP",
            help="a folder of the results, such as that of a quick look, architectures+epochs-2; default: %(default)s",
        ),
        RESULTS_DIR,
    ),
    "app": (
        _app,
        "a page on this machine: upload or draw an image, see what the models say",
        number("--port", "default: the first free one from 7860", port_number),
        option("--host", default="127.0.0.1", help="who can reach the page; default: %(default)s, this machine"),
        _SWEEP_NAME,
        DATA_DIR,
        RESULTS_DIR,
    ),
}


def _program() -> str:
    return "fmnist-mlp" if is_installed() else "python -m fmnist_mlp"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="What can be done beside training: with the images, with finished sweeps.",
    )
    subparsers = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    subparsers.add_parser(_SWEEP, help="train what a sweep file lists: python sweep.py by another name")
    for name, (run, help, *options) in _VERBS.items():
        verb = subparsers.add_parser(name, help=help)
        add_options(verb, *options)
        verb.set_defaults(run=run)
    return parser
