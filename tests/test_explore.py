"""The look at a data set: its numbers against plain references, its page against a parser, and ugly data."""

import base64
import os
import re
import struct
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx
from pages import read_page

from fmnist_mlp.data.source import DataSource, find_data
from fmnist_mlp.data.split import limit_indices
from fmnist_mlp.errors import SweepError
from fmnist_mlp.report.explore import PICTURE_NAMES, explore
from fmnist_mlp.report.image_statistics import (
    components_needed,
    count_duplicates,
    count_values,
    find_neighbours,
    fit_pca,
    mean_and_std,
    stratified_sample,
)


def draw_images(train, test=6, classes=3, height=4, width=5, value=None):
    """Random images, or constant ones of gray level `value`; the labels count up and begin again."""
    rng = np.random.default_rng(0)
    arrays = []
    for n in (train, test):
        shape = (n, height, width)
        arrays += [rng.integers(0, 256, shape) if value is None else np.full(shape, value), np.arange(n) % classes]
    return arrays


def look(source, folder, **options):
    """What the page says."""
    return read_page(explore(source, folder, **options))


@pytest.fixture
def source(tmp_path, tiny_images):
    """The tiny images as files: 150 for training and 53 for testing, four classes."""
    x, y = tiny_images
    return write_idx(tmp_path / "mine", x[:150], y[:150], x[150:], y[150:])


# ---- The numbers ----


@pytest.mark.parametrize("n", [40, 7], ids=["more images than pixels", "fewer images than pixels"])
def test_the_spectrum_is_that_of_the_singular_values_of_the_centred_pixels(n):
    x = np.random.default_rng(1).integers(0, 256, (n, 3, 5), dtype=np.uint8)
    pixels = x.reshape(n, 15) / 255
    _, singular_values, directions = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)

    pca = fit_pca(x)

    variances = singular_values**2
    np.testing.assert_allclose(pca.explained_variance_ratio_, variances / variances.sum(), atol=1e-12)
    np.testing.assert_allclose(pca.explained_variance_, variances / (n - 1), atol=1e-12)
    # A direction has no sign.
    alike = np.abs((pca.components_ * directions).sum(axis=1))
    np.testing.assert_allclose(alike[: min(n - 1, 15)], 1, atol=1e-9)


def test_the_fewest_components_that_explain_a_share_are_counted():
    ratio = np.array([0.8, 0.1, 0.05, 0.05])
    assert [components_needed(ratio, share) for share in (0.5, 0.8, 0.81, 0.9, 0.95, 0.96, 1.0)] == [
        1,
        1,
        2,
        2,
        3,
        4,
        4,
    ]
    assert sum([0.7, 0.1, 0.1]) < 0.9  # by rounding alone
    assert components_needed(np.array([0.7, 0.1, 0.1, 0.1]), 0.9) == 3


def neighbours_by_loops(x, y, pairs):
    """The definition, in whole numbers of Python."""
    images = [[int(value) for value in image.ravel()] for image in x]
    squared = {
        (i, j): sum((a - b) ** 2 for a, b in zip(images[i], images[j], strict=True))
        for i, j in combinations(range(len(x)), 2)
    }
    nearest = [
        min((squared[min(i, j), max(i, j)], j) for j in range(len(x)) if j != i)[1] if len(x) > 1 else -1
        for i in range(len(x))
    ]
    across = sorted((distance, i, j) for (i, j), distance in squared.items() if y[i] != y[j])
    return nearest, across[:pairs]


@pytest.mark.parametrize("block_images", [1, 4, 7, 1000])
@pytest.mark.parametrize(("n", "levels"), [(30, 256), (30, 2), (23, 1), (2, 256), (1, 256)])
def test_neighbours_are_those_of_comparing_all_with_all(monkeypatch, n, levels, block_images):
    rng = np.random.default_rng(2)
    x = rng.integers(0, levels, (n, 2, 3), dtype=np.uint8)  # with two levels nearly every distance is a tie
    y = rng.integers(0, 3, n)
    monkeypatch.setattr("fmnist_mlp.report.image_statistics.BLOCK_VALUES", 6 * block_images)

    found = find_neighbours(x, y, pairs=9)

    nearest, across = neighbours_by_loops(x, y, pairs=9)
    assert found.nearest.tolist() == nearest
    assert found.pairs.tolist() == [[i, j] for _, i, j in across]
    np.testing.assert_allclose(found.pair_distances, [distance**0.5 for distance, _, _ in across], rtol=1e-15)


def test_duplicates_made_by_hand_are_counted():
    a, b, c, d, e = np.random.default_rng(3).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    almost_a = a.copy()
    almost_a[3, 3] ^= 1
    x_train, y_train = np.stack([a, b, a, c, almost_a, a]), np.array([0, 1, 0, 2, 0, 1])
    x_test, y_test = np.stack([d, c, d, a, e, c]), np.array([1, 2, 1, 0, 0, 2])

    found = count_duplicates(x_train, y_train, x_test, y_test)

    assert found.in_train == 2  # the second and third a
    assert found.in_test == 2  # the second d and the second c
    assert found.test_in_train == 3  # c twice and a
    assert found.with_other_class == 1  # a
    assert found.groups == (((0, 2, 5), (3,)), ((3,), (1, 5)), ((), (0, 2)))


def test_means_and_pixel_facts_are_numpys(monkeypatch, tiny_images):
    x, _ = tiny_images
    monkeypatch.setattr("fmnist_mlp.report.image_statistics.BLOCK_VALUES", 1000)  # several blocks, the last one short
    mean, std = mean_and_std(x)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, x.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(count_values(x), [(x == level).sum() for level in range(256)])


def test_the_sample_holds_every_class_in_its_share_and_follows_the_seed():
    y = np.repeat([0, 1, 2, 3], [500, 300, 196, 4])
    chosen = stratified_sample(y, 100, seed=0)
    assert np.bincount(y[chosen]).tolist() in ([50, 30, 19, 1], [50, 30, 20, 0], [49, 30, 20, 1])
    assert len(set(chosen.tolist())) == 100
    np.testing.assert_array_equal(chosen, stratified_sample(y, 100, seed=0))
    other = stratified_sample(y, 100, seed=1)
    assert len(set(chosen.tolist()) & set(other.tolist())) < 50


# ---- The page ----


@pytest.mark.slow
def test_the_page_is_whole_and_needs_nothing_but_itself(tmp_path, source):
    lines = []
    path = explore(source, tmp_path / "out", sample=60, notify=lines.append)
    page = read_page(path)

    assert path == tmp_path / "out" / "index.html"
    assert {file.name for file in path.parent.iterdir()} == {"index.html", *PICTURE_NAMES}
    markup = re.sub(r'src="data:image/png;base64,[\w+/=]+"', "", page.source)
    assert not re.search(r"//|src=|@import|url\(|<script|<link", markup)
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") == 1
    ids, links = page.attributes("id"), page.attributes("href")
    assert len(ids) == len(set(ids))
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    saved = {name: (path.parent / name).read_bytes() for name in PICTURE_NAMES}
    shown = [base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in page.images]
    assert shown == list(saved.values())
    for image, content in zip(page.images, shown, strict=True):
        assert len(image["alt"]) > 20
        assert struct.unpack(">II", content[16:24]) == (int(image["width"]), int(image["height"]))
        assert b"Software" not in content
        assert b"tIME" not in content
    assert "a sample of 60 of the 150 training images (seed 0)" in page.text
    assert lines[0] == "Reading idx:mine"
    assert len(lines) > 3


@pytest.mark.slow
def test_the_pages_numbers_are_those_of_the_data(tmp_path, source, tiny_images):
    x, y = tiny_images
    x_train, y_train, x_test, y_test = x[:150], y[:150], x[150:], y[150:]
    page = look(source, tmp_path / "out", sample=1000)

    assert page.facts["Training images"] == "150 training images"
    assert page.facts["Image"].startswith("8 × 8 pixels")
    for label in range(4):
        train, test = (y_train == label).sum(), (y_test == label).sum()
        row = [str(label), str(label), str(train), f"{train / 1.5:.1f}", str(test), f"{test / 0.53:.1f}"]
        assert row in page.rows
    assert ["mean, gray levels", f"{x_train.mean():.2f}", f"{x_test.mean():.2f}"] in page.rows
    assert ["standard deviation, gray levels", f"{x_train.std():.2f}", f"{x_test.std():.2f}"] in page.rows
    zeros = [f"{100 * (part == 0).mean():.2f}" for part in (x_train, x_test)]
    assert ["pixels that are zero, %", *zeros] in page.rows

    pixels = x_train.reshape(150, 64) / 255
    spectrum = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False) ** 2
    shares = spectrum.cumsum() / spectrum.sum()
    for share in (0.90, 0.95):
        assert page.facts[f"{100 * share:.0f} % of the variance"] == f"{1 + (shares < share).sum()} components of 64"

    nearest, across = neighbours_by_loops(x_train, y_train, pairs=20)
    for rank, (squared, i, j) in enumerate(across, start=1):
        numbers = [f"{squared**0.5:.1f}", f"{(squared / 64) ** 0.5:.1f}"]
        assert [str(rank), str(y_train[i]), str(i), str(y_train[j]), str(j), *numbers] in page.rows
    own = (y_train[nearest] == y_train).mean()
    assert f"{100 * own:.1f} % of the images have a nearest neighbour of their own class" in page.text


@pytest.mark.slow
def test_the_class_that_a_class_is_confused_with_is_named(tmp_path):
    # On a line: the images of class 0 lie beside those of class 1, those of class 2 keep to themselves.
    train = [(10, 0), (11, 1), (50, 0), (51, 1), (200, 2), (201, 2), (240, 1), (242, 1), (243, 1)]
    levels, labels = np.array(train).T
    images = np.repeat(levels, 4).reshape(-1, 2, 2)
    source = write_idx(tmp_path / "line", images, labels, images, labels)
    page = look(source, tmp_path / "out")
    assert ["0", "2", "0.0", "1", "100.0"] in page.rows
    assert ["1", "5", "60.0", "0", "40.0"] in page.rows
    assert ["2", "2", "100.0", "none", ""] in page.rows
    assert page.facts["Between training and test"] == "9 of 9 test images equal a training image"
    assert ["0", "0", "0"] in page.rows  # training image 0 is test image 0, both of class 0


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_whatever_matplotlib_is_set_to(tmp_path, source):
    import matplotlib

    def read(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    explore(source, tmp_path / "first", sample=40, seed=3)
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20, "text.usetex": True, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        explore(source, tmp_path / "second", sample=40, seed=3)
        assert dict(matplotlib.rcParams) == before
    assert read(tmp_path / "first") == read(tmp_path / "second")
    explore(source, tmp_path / "third", sample=40, seed=4)
    assert read(tmp_path / "third")["examples.png"] != read(tmp_path / "first")["examples.png"]


@pytest.mark.slow
def test_names_from_outside_are_escaped_and_drawn_as_they_are(tmp_path):
    name = os.fsdecode(
        b"<script>$\\frac{$&\"'\n\xff\xe6\xbc\xa2"
    )  # ends with a byte that is no UTF-8 and a Chinese sign
    path = explore(write_idx(tmp_path / name, *draw_images(12)), tmp_path / "out")
    page = read_page(path)
    assert "script" not in page.tags
    assert "idx:<script>$\\frac{$&\"'" in page.text


@pytest.mark.slow
def test_the_generated_stand_in_is_named_in_the_title_with_the_reason(tmp_path):
    source = DataSource("synthetic", fallback_reason="there is <no> network & nothing cached")
    page = look(source, tmp_path / "out", sample=10, limit=40)
    assert re.search("<title>Generated stand-in .synthetic.", page.source)
    assert "These are not Fashion-MNIST's images" in page.text
    assert "There is <no> network & nothing cached." in page.text
    assert "40 of the 12,000 training images (limit)" in page.text
    assert "T-shirt/top" in page.text


# ---- Ugly data ----

MAPS = {"pca_map.png", "tsne_map.png"}
PCA = {"pca_spectrum.png", "pca_components.png"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arrays", "options", "missing", "says"),
    [
        pytest.param(
            draw_images(12),
            {"limit": 1},
            PCA | MAPS | {"nearest_pairs.png"},
            ["Principal components need at least two images", "Neighbours need at least two images", "1 of them occur"],
            id="one image of one class",
        ),
        pytest.param(
            draw_images(12),
            {"limit": 2},
            {"tsne_map.png"},
            ["No t-SNE map: 2 images", "1 component of 2", "none in the sample"],
            id="fewer images than components, and a class missing",
        ),
        pytest.param(
            draw_images(40, classes=2),
            {"sample": 1},
            {"tsne_map.png", "nearest_pairs.png"},
            ["No t-SNE map: 1 image,", "the sample holds one"],
            id="a sample of one image",
        ),
        pytest.param(
            draw_images(40, value=7),
            {},
            PCA | MAPS,
            ["All images are the same", "20 of 20 pixels never vary", "39 of 40 images equal an earlier one"],
            id="constant images",
        ),
        pytest.param(draw_images(40, value=0), {}, PCA | MAPS, ["All images are the same"], id="all black"),
        pytest.param(
            draw_images(60, height=1, width=1), {}, MAPS, ["Images of one pixel have one dimension"], id="one pixel"
        ),
        pytest.param(draw_images(40, height=200, width=1), {}, set(), ["The images are stretched"], id="a column"),
        pytest.param(draw_images(40, height=1, width=200), {}, set(), ["The images are stretched"], id="a row"),
        pytest.param(
            draw_images(512, 256, classes=256, height=2, width=2),
            {"sample": 90},
            set(),
            ["The first 20 of 256 classes", "Images of each class: 256 rows"],
            id="as many classes as a byte can name",
        ),
    ],
)
def test_what_cannot_be_made_says_why_and_the_rest_is_there(tmp_path, arrays, options, missing, says):
    path = explore(write_idx(tmp_path / "ugly", *arrays), tmp_path / "out", **options)
    page = read_page(path)
    assert {file.name for file in path.parent.iterdir()} == {"index.html", *PICTURE_NAMES} - missing
    assert len(page.images) == len(PICTURE_NAMES) - len(missing)
    for phrase in says:
        assert phrase in page.text
    assert "nan" not in page.text


@pytest.mark.slow
def test_indices_on_the_page_are_those_of_the_files_whatever_the_limit(tmp_path, source, tiny_images):
    x, y = tiny_images[0][:150], tiny_images[1][:150]
    page = look(source, tmp_path / "out", limit=50)
    pairs = [row for row in page.rows if len(row) == 7 and row[0].isdigit()]
    assert len(pairs) == 20
    for _, label, i, other_label, j, distance, _ in pairs:
        assert (int(label), int(other_label)) == (y[int(i)], y[int(j)])
        assert distance == f"{np.linalg.norm(x[int(i)].astype(float) - x[int(j)]):.1f}"


def test_a_limit_that_leaves_only_high_classes_of_many_draws_those(tmp_path):
    x_train, _, x_test, y_test = draw_images(100, 50, classes=50)
    y_train = np.concatenate([np.arange(50), np.full(50, 40)]).astype(np.uint8)
    assert y_train[limit_indices(y_train, 1)] == [40]  # else this test shows nothing
    page = look(write_idx(tmp_path / "many", x_train, y_train, x_test, y_test), tmp_path / "out", limit=1)
    assert "The first 1 of 50 classes." in page.text


@pytest.mark.slow
def test_images_that_vary_outside_the_sample_only_have_no_map_by_tsne(tmp_path):
    x_train, y_train, x_test, y_test = draw_images(300, value=9)
    left_out = np.setdiff1d(np.arange(300), stratified_sample(y_train, 20, seed=0))[0]
    x_train[left_out, 0, 0] = 200
    page = read_page(
        explore(write_idx(tmp_path / "mine", x_train, y_train, x_test, y_test), tmp_path / "out", sample=20)
    )
    assert "the images of the sample are all the same" in page.text


@pytest.mark.slow
def test_large_images_have_their_components_from_a_sample_that_is_named(tmp_path):
    source = write_idx(tmp_path / "large", *draw_images(1010, height=65, width=64, classes=2))
    page = look(source, tmp_path / "out", sample=10)
    assert "PCA (scikit-learn) of a sample of 1,000 of the 1,010 training images (seed 0)" in page.text


# ---- Files ----


@pytest.mark.slow
def test_pictures_of_an_earlier_run_go_and_other_files_stay(tmp_path, source):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "tsne_map.png").write_bytes(b"old")
    (folder / "notes.txt").write_text("mine")
    explore(source, folder, limit=4)
    assert not (folder / "tsne_map.png").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    lines = []
    with pytest.raises(SweepError, match=r"cannot write .*file/out: "):
        explore(DataSource("idx", tmp_path / "none"), tmp_path / "file" / "out", notify=lines.append)
    assert lines == []


@pytest.mark.slow
def test_a_full_disk_leaves_the_older_page_whole(tmp_path, source, monkeypatch):
    path = explore(source, tmp_path / "out", limit=4)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}

    def fail(draft, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SweepError, match=r"cannot write .*No space left on device"):
        explore(source, path.parent, limit=6)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_sample_below_one_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match="sample must be at least 1"):
        explore(source, tmp_path / "out", sample=0)


@pytest.mark.slow
def test_fashion_mnist_needs_187_components_for_95_percent(tmp_path):
    folder = os.environ.get("FASHION_MNIST_DIR")
    if not folder:
        pytest.skip("FASHION_MNIST_DIR is not set")
    page = look(find_data("fashion_mnist", Path(folder)), tmp_path / "out", sample=500)
    assert page.facts["95 % of the variance"] == "187 components of 784"
    assert page.facts["90 % of the variance"] == "84 components of 784"
    assert "Fashion-MNIST: a look at the images" in page.text
    # numpy.unique over the rows of both parts finds 70,000 different images.
    assert page.facts["Within training"] == "0 of 60,000 images equal an earlier one"
    assert page.facts["Between training and test"] == "0 of 10,000 test images equal a training image"
