"""The pictures of a sweep: axes against numbers by hand, files against matplotlib's own. test_report.py draws all."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from fmnist_mlp.report.plots import choose_limits, new_figure, own_style, shortened, to_png


@pytest.mark.parametrize(
    ("values", "inside", "outside"),
    [
        ([0.88, 0.885, 0.89, 0.887, 0.1], [0.88, 0.89], [0.1]),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 4.0], []),
        ([5.0], [5.0], []),
        ([0.0, 0.0], [0.0], []),
        ([2.0, 2.0, 2.0, 2.0, 9.0], [2.0, 9.0], []),
        ([1.0, 2.0, float("inf"), float("nan")], [1.0, 2.0], []),
        ([0.3, 0.31, 0.32, 0.33, 1e300], [0.3, 0.33], [1e300]),
        ([], [0.5], []),
    ],
)
def test_an_axis_holds_all_values_but_outliers(values, inside, outside):
    low, high = choose_limits(values)
    assert low < high
    assert all(low < value < high for value in inside)
    assert not any(low <= value <= high for value in outside)


def test_a_picture_has_the_pixels_that_matplotlib_saves():
    with own_style():
        figure = new_figure(2.0, background="#111111")
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.6))
        axes.set_title("a title", color="white")
        axes.fill_between([0, 1, 2], [1, 3, 2], alpha=0.4)
        content, saved = to_png(figure), io.BytesIO()
        figure.savefig(saved, format="png", facecolor=figure.get_facecolor())
        assert to_png(figure) == content
    picture, expected = Image.open(io.BytesIO(content)), Image.open(saved)
    assert expected.getchannel("A").getextrema() == (255, 255)  # else there is more than three channels hold
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected.convert("RGB")))
    assert struct.unpack(">II", content[16:24]) == figure.canvas.get_width_height()
    assert picture.info["dpi"] == pytest.approx((180, 180), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("64-32", "64-32"),
        ("two\nlines", "two lines"),
        ("\u670d caf\u00e9", "? caf\u00e9"),
        ("a-rather-long-name-of-a-stack", "a-rather-l...a-stack"),
    ],
)
def test_a_name_is_made_to_fit_a_picture(name, expected):
    assert shortened(name, 20) == expected
    assert len(shortened(name, 20)) <= 20
