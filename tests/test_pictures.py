"""What the network sees of a picture: light on black, filling the frame, with a note where its background is uneven."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from predicting import draw_garment, encode

from fmnist_mlp.data.source import DataSource, find_data, load_data
from fmnist_mlp.inference.pictures import load_image


def gray(height, width, background, garment, box):
    """A box of one gray on a background of another: uint8 `(height, width)`; `box` is top, bottom, left, right."""
    image = np.full((height, width), background, np.uint8)
    image[box[0] : box[1], box[2] : box[3]] = garment
    return image


# ---- what the network sees ----


def test_a_dark_box_on_white_becomes_a_light_one_on_black_that_fills_the_frame():
    picture = Image.fromarray(gray(300, 400, 255, 0, (100, 156, 50, 78)))  # 56 high, 28 wide
    prepared = load_image(picture)
    expected = np.zeros((28, 28), np.uint8)
    expected[:, 7:21] = 255  # half as wide as high, in the middle
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert prepared.inverted
    assert prepared.note == "dark on light: inverted; fitted from 400x300"


def test_a_light_box_on_black_stays_light_on_black():
    prepared = load_image(Image.fromarray(gray(300, 400, 0, 255, (100, 128, 50, 106))))  # 28 high, 56 wide
    expected = np.zeros((28, 28), np.uint8)
    expected[7:21] = 255
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert not prepared.inverted


def test_the_background_becomes_black_wherever_its_gray_was():
    lighter = load_image(Image.fromarray(gray(56, 56, 120, 220, (0, 56, 14, 42))))
    darker = load_image(Image.fromarray(gray(56, 56, 120, 20, (0, 56, 14, 42))))
    assert (lighter.pixels[:, :7].max(), darker.pixels[:, :7].max()) == (0, 0)
    assert lighter.pixels[14, 14] == round((220 - 120) * 255 / (255 - 120))
    assert darker.pixels[14, 14] == round((120 - 20) * 255 / 120)


def test_a_picture_of_any_shape_fits_the_frame_of_any_shape():
    picture = Image.fromarray(gray(200, 200, 255, 0, (20, 180, 60, 140)))  # twice as high as wide
    pixels = load_image(picture, (8, 20)).pixels
    assert pixels.shape == (8, 20)
    np.testing.assert_array_equal(pixels.min(axis=0), [0] * 8 + [255] * 4 + [0] * 8)
    pixels = load_image(picture, (20, 8)).pixels
    np.testing.assert_array_equal(pixels.min(axis=1), [0] * 2 + [255] * 16 + [0] * 2)


@pytest.mark.parametrize("negate", [False, True], ids=["as it is", "its negative"])
def test_every_stand_in_test_image_is_taken_pixel_by_pixel_and_the_right_way_round(negate):
    images = load_data(DataSource("synthetic")).x_test
    for image in images:
        prepared = load_image(Image.fromarray(255 - image if negate else image))
        assert prepared.inverted == negate
        np.testing.assert_array_equal(prepared.pixels, image)
    assert prepared.note.endswith("taken pixel by pixel: 28x28 already")


@pytest.mark.slow
def test_every_fashion_mnist_test_image_is_taken_the_right_way_round():
    folder = os.environ.get("FASHION_MNIST_DIR")
    if not folder:
        pytest.skip("needs FASHION_MNIST_DIR")
    images = load_data(find_data("fashion_mnist", Path(folder))).x_test
    assert not any(load_image(Image.fromarray(image)).inverted for image in images)
    assert all(load_image(Image.fromarray(255 - image)).inverted for image in images)


INVERSIONS = {
    "dark on white": (255, 0, "auto", True),
    "light on black": (0, 255, "auto", False),
    "dark on mid gray": (128, 20, "auto", True),
    "light on mid gray": (128, 240, "auto", False),
    "white on nearly white": (225, 255, "auto", False),
    "pale on white": (255, 225, "auto", True),
    "light on black, exchanged": (0, 255, "yes", True),
    "dark on white, left": (255, 0, "no", False),
    "dark on white, exchanged": (255, 0, "yes", True),
    "light on black, left": (0, 255, "no", False),
}


@pytest.mark.parametrize(("background", "garment", "invert", "inverted"), INVERSIONS.values(), ids=INVERSIONS)
@pytest.mark.parametrize("size", [28, 200], ids=["28 pixels", "200 pixels"])
def test_light_and_dark_are_exchanged_where_they_should_be(background, garment, invert, inverted, size):
    box = (size // 4, size - size // 4, size // 3, size - size // 3)
    prepared = load_image(Image.fromarray(gray(size, size, background, garment, box)), invert=invert)
    assert prepared.inverted == inverted
    assert ("not inverted" not in prepared.note) == inverted
    assert ("as asked" in prepared.note) == (invert != "auto")
    if inverted == (garment < background):
        assert prepared.pixels[14, 14] > prepared.pixels[14, 0]


def test_a_background_that_fades_to_the_middle_does_not_outweigh_a_small_garment():
    image = gray(200, 200, 100, 92, (10, 190, 10, 190))  # the light falls off by 3 %
    image[95:105, 95:105] = 200
    prepared = load_image(Image.fromarray(image))
    assert not prepared.inverted
    assert prepared.pixels.min() > 100  # the garment alone fills the frame


def test_who_insists_on_the_wrong_inversion_gets_the_picture_whole():
    prepared = load_image(Image.fromarray(gray(280, 280, 0, 200, (70, 210, 70, 210))), invert="yes")
    expected = np.full((28, 28), 255)
    expected[7:21, 7:21] = 55
    # A sharp edge in the middle of an averaged pixel overshoots a little.
    np.testing.assert_allclose(prepared.pixels[[0, 14, 14], [0, 0, 14]], expected[[0, 14, 14], [0, 0, 14]], atol=1)


@pytest.mark.parametrize("value", [0, 127, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (300, 2)], ids=str)
def test_a_blank_picture_is_black_and_not_an_error(value, size):
    prepared = load_image(Image.new("L", size, value))
    assert prepared.pixels.shape == (28, 28)
    assert prepared.pixels.max() <= 127
    assert size == (28, 28) or "blank" in prepared.note


@pytest.mark.parametrize(("width", "height"), [(10_000, 1), (1, 10_000), (2, 3), (5_000, 70), (29, 28), (3000, 3000)])
def test_pictures_of_ugly_sizes_give_a_frame(width, height):
    prepared = load_image(Image.fromarray(gray(height, width, 255, 0, (0, height, 0, (width + 2) // 3))))
    assert prepared.pixels.shape == (28, 28)
    assert prepared.pixels.dtype == np.uint8


def test_a_large_picture_gives_what_the_same_picture_gives_small():
    small = draw_garment((300, 400))
    large = small.resize((3000, 4000), Image.Resampling.NEAREST)
    difference = load_image(small).pixels.astype(int) - load_image(large).pixels
    assert np.abs(difference).max() <= 40  # where an edge falls into a pixel
    assert np.abs(difference).mean() < 2


@pytest.mark.slow
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.sampled_from(["auto", "yes", "no"]))
@example(np.array([[0, 26]], np.uint8), "yes")  # as much lighter as darker than its border
@settings(max_examples=150, deadline=None)
def test_whatever_the_pixels_are_the_frame_is_full_of_numbers(image, invert):
    prepared = load_image(Image.fromarray(image), invert=invert)
    assert (prepared.pixels.shape, prepared.pixels.dtype) == ((28, 28), np.uint8)
    negative = load_image(Image.fromarray(255 - image), invert={"yes": "no", "no": "yes"}.get(invert, invert))
    if image.shape != (28, 28) and negative.inverted != prepared.inverted:  # the same garment, then
        np.testing.assert_allclose(negative.pixels.astype(int), prepared.pixels, atol=1)


# ---- backgrounds ----


def on_background(shade, noise=0):
    """The garment on a background of such a lightness: a function of x and y, -1 to 1, giving 0 to 1."""
    picture = np.asarray(draw_garment((300, 400)), float)
    y, x = np.mgrid[-1:1:400j, -1:1:300j]
    shaded = picture * shade(x, y)[:, :, None] + np.random.default_rng(0).normal(0, noise, picture.shape)
    return encode(Image.fromarray(shaded.clip(0, 255).astype(np.uint8)), "JPEG")


UNEVEN = {
    "light from one side": lambda x, y: 0.85 + 0.15 * x,
    "light that falls off": lambda x, y: 1 - 0.25 * (x**2 + y**2) / 2,
    "a floor below a wall": lambda x, y: np.where(y > 0.6, 0.6, 1.0),
    "a shadow in a corner": lambda x, y: 1 - 0.4 * np.exp(-4 * ((x - 1) ** 2 + (y - 1) ** 2)),
}


@pytest.mark.parametrize("shade", UNEVEN.values(), ids=UNEVEN)
def test_an_uneven_background_is_noted(shade):
    assert "; uneven background: part of it counts as garment; fitted" in load_image(on_background(shade)).note


EVEN = {
    "even light": on_background(lambda x, y: np.ones_like(x)),
    "a little falling off": on_background(lambda x, y: 1 - 0.06 * (x**2 + y**2) / 2),
    "grain": on_background(lambda x, y: np.ones_like(x), noise=6),
    "cut off at one side": encode(draw_garment((300, 400), box=(50, 80, 250, 500)), "JPEG"),
    "at three sides": encode(draw_garment((300, 400), box=(0, 40, 300, 400)), "JPEG"),
    "white on nearly white": encode(draw_garment((300, 400), (255, 255, 255), (225, 225, 225), (0, 40, 300, 400))),
}


@pytest.mark.parametrize("content", EVEN.values(), ids=EVEN)
def test_an_ordinary_picture_is_not_called_uneven(content):
    assert "uneven" not in load_image(content).note


@pytest.mark.slow
def test_hardly_any_test_image_that_fills_its_frame_is_called_uneven():
    folder = os.environ.get("FASHION_MNIST_DIR")
    if not folder:
        pytest.skip("needs FASHION_MNIST_DIR")
    images = load_data(find_data("fashion_mnist", Path(folder))).x_test[:500]
    large = [Image.fromarray(image).resize((280, 280), Image.Resampling.NEAREST) for image in images]
    assert np.mean(["uneven" in load_image(image).note for image in large]) < 0.02
