"""Anything at all as a sweep file, drawn by hypothesis: it is a sweep or a SweepError that a terminal shows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import anything, junk, mutated, values
from sweep_files import STACK

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.settings import Grid
from fmnist_mlp.sweepfile.trials import list_trials


def only_a_sweep_or_a_sweep_error(path, content):
    path.write_bytes(content)
    try:
        sweep = load_sweep(path)
    except SweepError as error:
        message = str(error)
    else:
        assert list_trials(sweep, data_identity="d")
        return
    assert message.replace("\n", "").isprintable()
    assert len(message) < 50_000


@pytest.mark.slow
@anything
@given(mutated())
def test_a_mutated_file_is_a_sweep_or_a_sweep_error(tmp_path, text):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", text.encode())


@pytest.mark.slow
@anything
@given(
    st.dictionaries(
        st.sampled_from([*Grid.model_fields, "after_each", "max_params", "epochs", "momentum"]), junk | values
    )
)
def test_any_grid_is_a_sweep_or_a_sweep_error(tmp_path, grid):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", json.dumps({"grid": grid}).encode())


@pytest.mark.slow
@anything
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_a_sweep_error(tmp_path, content):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", content)


@pytest.mark.slow
@anything
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%#@`, \n\t<~0123.e\\", max_size=60), st.booleans())
def test_random_punctuation_is_a_sweep_error(tmp_path, text, after_a_stack):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", ((STACK if after_a_stack else "") + text).encode())
