"""The program that runs every test file in a process of its own, on files of this test."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN_ALL = Path(__file__).with_name("run_all.py")
FILES = {
    "test_passes.py": "def test_it():\n    pass\n",
    "test_fails.py": "def test_it():\n    assert 1 + 1 == 3\n",
    "test_dies.py": "import os\n\nos._exit(7)\n",  # before pytest has printed anything
    "test_has_none.py": "",
    "test_leaves_one.py": """
import subprocess
import sys

def test_it():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
""",
    "test_hangs.py": """
import threading

def test_it():
    threading.Event().wait(100)
""",
}


def run_all(folder, *names, options=()):
    for name in names:
        (folder / name).write_text(FILES[name])
    command = [sys.executable, RUN_ALL, *options, *(folder / name for name in names)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_each_file_has_its_line_and_one_that_dies_without_a_word_is_a_failure(tmp_path):
    ran = run_all(tmp_path, "test_passes.py", "test_fails.py", "test_dies.py", "test_has_none.py")
    lines = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (1, "")
    assert any(line.startswith("test_passes.py: 1 passed in ") for line in lines)
    assert any(line.startswith("test_fails.py: 1 failed in ") for line in lines)
    assert "test_dies.py: printed nothing, exit code 7" in lines
    assert not any(line.startswith("test_has_none.py") for line in lines)
    assert {*lines[-1].removeprefix("failed: ").split(", ")} == {"test_fails.py", "test_dies.py"}
    assert "assert (1 + 1) == 3" in ran.stdout


def test_where_all_pass_it_says_so(tmp_path):
    ran = run_all(tmp_path, "test_passes.py")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "all passed")


def test_it_does_not_wait_for_what_a_test_left_running(tmp_path):
    started = time.monotonic()
    assert run_all(tmp_path, "test_leaves_one.py").returncode == 0
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_test_that_hangs_is_ended_and_says_where(tmp_path):
    ran = run_all(tmp_path, "test_hangs.py", options=["-o", "faulthandler_timeout=1"])
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, "failed: test_hangs.py")
    assert 'test_hangs.py", line 5 in test_it' in ran.stdout
