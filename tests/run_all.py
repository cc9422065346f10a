"""Every test file in a process of its own, as many at once as there are cores: `python tests/run_all.py -k words`.

Options and files are pytest's; the long tests run too. TensorFlow keeps each program that it compiles until its process
ends: all files in one process grow to 8 GiB. A test that hangs says where, and its file has failed.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MOST_SECONDS_OF_A_TEST, MOST_SECONDS_OF_A_FILE = 600, 1800  # three times what the longest took on a slow machine
COMMAND = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "-p", "no:cacheprovider"),
    *("-o", f"faulthandler_timeout={MOST_SECONDS_OF_A_TEST}", "-o", "faulthandler_exit_on_timeout=true"),
]
# So that no core waits for another at the end, in the order of measured times; of the others the larger come first.
LONGEST_FIRST = (
    *("engine_ray", "end_to_end", "surroundings", "sweeps", "compiled_epoch", "kill", "watch", "python"),
    *("search_runs", "published", "preprocess", "refit", "search"),
)
NOTHING_SELECTED = 5  # pytest's exit code


def rank(path: Path) -> tuple[int, int]:
    name = path.stem.removeprefix("test_")
    place = LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)
    return place, -path.stat().st_size


def run(path: Path, options: list[str]) -> tuple[int, str]:
    """One file to its end: exit code, and what pytest printed."""
    # Not through pipes: what a test has left running would hold them open. Python may write what it compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen([*COMMAND, *options, path], env=environment, stdout=output, stderr=subprocess.STDOUT)
        said = ""
        try:
            process.wait(MOST_SECONDS_OF_A_FILE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            said = f"\nnot over after {MOST_SECONDS_OF_A_FILE} s"
        output.seek(0)
        return process.returncode, output.read() + said


def main(arguments: list[str]) -> int:
    started, failed = time.monotonic(), []
    files = [Path(argument) for argument in arguments if argument.endswith(".py")]
    options = [argument for argument in arguments if not argument.endswith(".py")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        runs = {pool.submit(run, path, options): path for path in sorted(files or FOLDER.glob("test_*.py"), key=rank)}
        for future in as_completed(runs):
            code, output = future.result()
            if code == NOTHING_SELECTED:
                continue
            if code:
                failed.append(runs[future].name)
                print(output)
            last_line = (output.strip() or f"printed nothing, exit code {code}").splitlines()[-1]
            print(f"{runs[future].name}: {last_line.strip('= ')}", flush=True)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    print(f"{time.monotonic() - started:.0f} s; the largest process grew to {largest:.1f} GiB")
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
