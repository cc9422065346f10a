"""A sweep that is killed again and again ends as one that was left alone; the long form is kill_at_random.py."""

import kill_at_random
import pytest


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_with_the_same_numbers(tmp_path):
    assert kill_at_random.kill_and_compare(tmp_path, kills=3, seed=1) == 3
