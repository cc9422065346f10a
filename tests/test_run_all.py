"""The program that runs all tests, a process for a few files, on files of this test."""

import re
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
def test_what_fails_is_shown_and_its_file_named(tmp_path):
    ran = run_all(tmp_path, "test_passes.py", "test_fails.py", "test_has_none.py")
    lines = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr, lines[-1]) == (1, "", "failed: test_fails.py")
    assert any(
        re.match(r"test_fails\.py test_passes\.py test_has_none\.py: 1 failed, 1 passed in ", line) for line in lines
    )
    assert "assert (1 + 1) == 3" in ran.stdout


@pytest.mark.slow
def test_a_process_that_dies_without_a_word_is_a_failure_of_all_its_files(tmp_path):
    ran = run_all(tmp_path, "test_dies.py", "test_passes.py")
    *_, line, _, last = ran.stdout.splitlines()
    assert line == "test_passes.py test_dies.py: printed nothing, exit code 7"
    assert (ran.returncode, last) == (1, "failed: test_passes.py, test_dies.py")


@pytest.mark.slow
def test_files_that_have_no_tests_of_these_are_no_failure(tmp_path):
    ran = run_all(tmp_path, "test_has_none.py")
    assert (ran.returncode, len(ran.stdout.splitlines())) == (0, 2)


@pytest.mark.slow
def test_where_all_pass_it_says_so(tmp_path):
    ran = run_all(tmp_path, "test_passes.py")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "all passed")


@pytest.mark.slow
def test_it_does_not_wait_for_what_a_test_left_running(tmp_path):
    started = time.monotonic()
    assert run_all(tmp_path, "test_leaves_one.py").returncode == 0
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_test_that_hangs_is_ended_and_says_where(tmp_path):
    ran = run_all(tmp_path, "test_hangs.py", options=["-o", "faulthandler_timeout=1"])
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, "failed: test_hangs.py")
    assert 'test_hangs.py", line 5 in test_it' in ran.stdout
