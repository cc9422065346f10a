"""All tests, the long ones too, in as many processes at once as there are cores: `python tests/run_all.py -k words`.

Options and files are pytest's. TensorFlow keeps each program that it compiles until its process ends: all files in one
process grow to 8 GiB. So files that take long have a process of their own, and of the others a few share one, since
importing TensorFlow takes longer than most of them. A test that hangs says where, and has failed.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MOST_SECONDS_OF_A_TEST, MOST_SECONDS_OF_A_PROCESS = 600, 1800  # three times what the longest took on a slow machine
COMMAND = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "-p", "no:cacheprovider"),
    *("-o", f"faulthandler_timeout={MOST_SECONDS_OF_A_TEST}", "-o", "faulthandler_exit_on_timeout=true"),
]
# A process each, in the order of measured times, so that no core waits for another at the end.
LONGEST_FIRST = (
    *("engine_ray", "end_to_end", "search_runs", "surroundings", "overview", "kill", "rungs", "app", "sweeps"),
    *("python", "preprocess", "compiled_epoch", "refit", "export", "augment", "watch", "search", "trial"),
    *("training", "explore", "ugly_sweeps", "program_cache", "published", "verdicts"),
)
PARTS = {"sweeps": 4, "compiled_epoch": 2}  # processes of a file that would grow too large in one
FILES_A_PROCESS = 6
NOTHING_SELECTED = 5  # pytest's exit code


def processes(files: list[Path]) -> list[list[Path | str]]:
    """What pytest is given in each: one of the long files or a part of it, or some of the others, large with small."""
    by_concept = {path.stem.removeprefix("test_"): path for path in files}
    alone = []
    for concept in LONGEST_FIRST:
        if path := by_concept.pop(concept, None):
            parts = PARTS.get(concept, 1)
            alone += [[path, f"--part={k}/{parts}"] for k in range(1, parts + 1)]
    others = sorted(by_concept.values(), key=lambda path: -path.stat().st_size)
    count = -(-len(others) // FILES_A_PROCESS)
    return [*alone, *(others[k::count] for k in range(count))]


def run(what: list[Path | str], options: list[str]) -> tuple[int, str]:
    """One process to its end: exit code, and what pytest printed."""
    # Not through pipes: what a test has left running would hold them open. Python may write what it compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        streams = {"stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen([*COMMAND, *options, *what], env=environment, **streams)
        said = ""
        try:
            process.wait(MOST_SECONDS_OF_A_PROCESS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            said = f"\nnot over after {MOST_SECONDS_OF_A_PROCESS} s"
        output.seek(0)
        return process.returncode, output.read() + said


def main(arguments: list[str]) -> int:
    started, failed = time.monotonic(), []
    files = [Path(argument) for argument in arguments if argument.endswith(".py")]
    options = [argument for argument in arguments if not argument.endswith(".py")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        runs = {pool.submit(run, what, options): what for what in processes(files or [*FOLDER.glob("test_*.py")])}
        for future in as_completed(runs):
            code, output = future.result()
            if code == NOTHING_SELECTED:
                continue
            names = [path.name for path in runs[future] if isinstance(path, Path)]
            if code:
                named = [name for name in names if re.search(rf"^(FAILED|ERROR) \S*{name}", output, re.MULTILINE)]
                failed += named or names  # where the process died
                print(output)
            last_line = (output.strip() or f"printed nothing, exit code {code}").splitlines()[-1]
            print(f"{' '.join(names)}: {last_line.strip('= ')}", flush=True)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    print(f"{time.monotonic() - started:.0f} s; the largest process grew to {largest:.1f} GiB")
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
