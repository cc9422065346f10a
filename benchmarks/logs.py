"""What TensorBoard's logs cost: seconds of a trial, bytes on disk, and how long 500 trials take to load.

    FASHION_MNIST_DIR=... python benchmarks/logs.py cost [--repeats 5] [--epochs 20]
    FASHION_MNIST_DIR=... python benchmarks/logs.py load [--trials 500]

`cost` trains one stack on one core, in turns with its logs and with nothing in their place (no callback, no pictures,
no event files), each time from the same start. What differs is what the default set of logs costs a trial; what the
parent adds at the end of a sweep is in `compare.py`.

`load` trains four short trials, multiplies their logs to so many, starts TensorBoard itself and asks its web address,
as a browser would, until every run is there; then for the data of one chart and of the HParams table.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import ROOT, clean_environment, describe_machine, markdown_table, real_images, resident_bytes, write_report

from fmnist_mlp.data.source import find_data, load_data
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import worker


def main() -> None:
    options = _options()
    if options.worker:
        print(json.dumps(_trial_seconds(options.epochs, options.repeats)))
        return
    with tempfile.TemporaryDirectory(prefix="logs-") as folder:
        title, table, notes = options.measure(options, Path(folder))
    write_report(title, describe_machine(), table, notes, options.output)


# ---- a trial with and without ----


def _cost(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    command = [sys.executable, __file__, "cost", "--worker", "--epochs", str(options.epochs)]
    command += ["--repeats", str(options.repeats)]
    environment = clean_environment(threads=1) | real_images() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for stack, seconds in found["seconds"].items():
        with_logs, without = statistics.median(seconds["with"]), statistics.median(seconds["without"])
        kib = found["bytes"][stack] / 1024
        rows.append([stack, f"{without:.2f}", f"{with_logs:.2f}", f"{100 * (with_logs / without - 1):.1f} %"])
        rows[-1].append(f"{kib:.0f}")
    header = ["stack", "without logs, s", "with logs, s", "cost", "KiB on disk"]
    notes = [f"{options.epochs} epochs, medians of {options.repeats} trials each, in turns, the first of all left out."]
    return "Logs: cost", markdown_table(header, rows, left=1), notes


def _trial_seconds(epochs: int, repeats: int) -> dict:
    """Seconds of whole trials, record and all, by stack; bytes of event files."""
    # In the worker only: TensorFlow, and the package, which needs PYTHONPATH.
    from fmnist_mlp.engines.calls import Context
    from fmnist_mlp.results.store import Results
    from fmnist_mlp.training import observer, trial

    Path("logs.yaml").write_text(f"seeds: 1\ntraining: {{epochs: {epochs}}}\narchitectures: [[64, 128, 64, 32]]\n")
    sweep = load_sweep("logs.yaml")
    folder = real_images().get("FASHION_MNIST_DIR")
    source = find_data("auto" if folder else "synthetic", Path(folder) if folder else None)
    worker.start_worker("cpu", 1, source)
    identity = load_data(source).identity
    trials = list_trials(sweep, data_identity=identity)
    places = {"LiveLog": observer, "keep_events": trial, "write_scores": trial}
    real = {name: getattr(module, name) for name, module in places.items()}

    class Nothing:
        def __init__(self, *arguments):
            pass

        def add(self, *arguments):
            pass

        def close(self):
            pass

    stubs = {"LiveLog": Nothing, "keep_events": lambda *a, **k: None, "write_scores": lambda *a, **k: None}
    seconds, sizes = {}, {}
    for one in trials:
        name = one.architecture.name
        seconds[name] = {"with": [], "without": []}
        for repeat in range(repeats + 1):
            for way, functions in (("with", real), ("without", stubs)):
                for attribute, function in functions.items():
                    setattr(places[attribute], attribute, function)
                place = Path(way) / name / str(repeat)
                task = trial.Task(one, source, None, place / "results", replaces=None)
                start = time.perf_counter()
                record = trial.run_trial(Context(lambda message: None, _Never()), task)
                took = time.perf_counter() - start
                assert record.is_done, record.error
                if repeat:  # the first compiles
                    seconds[name][way].append(took)
            events = Results(Path("with") / name / str(repeat) / "results").record_folder(one.fingerprint) / "events"
            sizes[name] = sum(path.stat().st_size for path in events.rglob("*") if path.is_file())
    return {"seconds": seconds, "bytes": sizes}


class _Never:
    def is_set(self) -> bool:
        return False


# ---- many trials in TensorBoard ----


def _load(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    text = "seeds: 4\ntraining: {epochs: 20}\narchitectures: [[64, 32]]\n"
    (folder / "many.yaml").write_text(text)
    command = [sys.executable, str(ROOT / "sweep.py"), "many.yaml", "--limit", "2000", "--quiet"]
    subprocess.run(command, env=clean_environment() | real_images(), cwd=folder, check=True)
    logs = folder / "results" / "_trials" / "many" / "64-32"
    trials = sorted(path for path in logs.iterdir() if path.is_dir())
    for number in range(len(trials), options.trials):
        shutil.copytree(trials[number % len(trials)], logs / f"seed-{number}")
    wanted = {f"many/64-32/seed-{number}/train" for number in range(options.trials)}
    size = sum(path.stat().st_size for path in (folder / "results" / "_trials").rglob("events.out.tfevents.*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tensorboard = [str(Path(sys.executable).with_name("tensorboard")), "--logdir", "results/_trials"]
    tensorboard += ["--port", str(port)]
    address = f"http://127.0.0.1:{port}/data"
    start = time.perf_counter()
    process = subprocess.Popen(tensorboard, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first = None
        while first is None or not wanted <= set(_get(f"{address}/plugin/scalars/tags") or ()):
            if first is None and _get(f"{address}/runs") is not None:
                first = time.perf_counter() - start
            if time.perf_counter() - start > 300:
                raise SystemExit(f"TensorBoard does not show the curves of {len(wanted)} trials after 300 s")
            time.sleep(0.1)
        rows = [["it answers", f"{first:.1f}"], ["it has the curves of all", f"{time.perf_counter() - start:.1f}"]]
        about = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 1000}
        for what, path, body in (
            ("one curve", "plugin/scalars/scalars?run=many%2F64-32%2Fseed-0%2Ftrain&tag=epoch_loss", None),
            ("all rows of HParams", "plugin/hparams/session_groups", about),
        ):
            began = time.perf_counter()
            if not _get(f"{address}/{path}", body):
                raise SystemExit(f"TensorBoard does not give {what}")
            rows.append([what, f"{time.perf_counter() - began:.2f}"])
        memory = resident_bytes(process.pid)
    finally:
        process.terminate()
        process.wait()
    notes = [
        f"{options.trials} trials of 20 epochs, {size / 2**20:.0f} MiB of event files; memory {memory / 2**20:.0f} MiB."
    ]
    return "Logs: load", markdown_table(["TensorBoard", "seconds"], rows, left=1), notes


def _get(address: str, body: dict | None = None):
    """The JSON at this address, None where there is none (yet); with a body it is posted."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError):
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    which = parser.add_subparsers(required=True, metavar="WHAT")
    cost = which.add_parser("cost", help="a trial with its logs and without")
    cost.add_argument("--repeats", type=int, default=5, metavar="N", help="default: %(default)s")
    cost.add_argument("--epochs", type=int, default=20, metavar="N", help="default: %(default)s")
    cost.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    cost.set_defaults(measure=_cost)
    load = which.add_parser("load", help="so many trials in TensorBoard")
    load.add_argument("--trials", type=int, default=500, metavar="N", help="default: %(default)s")
    load.set_defaults(measure=_load, worker=False)
    return parser.parse_args()


if __name__ == "__main__":
    main()
