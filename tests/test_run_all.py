"""The program that runs every test file in a process of its own, on files of this test."""

import subprocess
import sys
from pathlib import Path

RUN_ALL = Path(__file__).with_name("run_all.py")
FILES = {
    "test_passes.py": "def test_it():\n    pass\n",
    "test_fails.py": "def test_it():\n    assert 1 + 1 == 3\n",
    "test_dies.py": "import os\n\nos._exit(7)\n",  # before pytest has printed anything
    "test_has_none.py": "",
}


def run_all(folder, *names):
    for name in names:
        (folder / name).write_text(FILES[name])
    command = [sys.executable, RUN_ALL, *(folder / name for name in names)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_each_file_has_its_line_and_one_that_dies_without_a_word_is_a_failure(tmp_path):
    ran = run_all(tmp_path, *FILES)
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
