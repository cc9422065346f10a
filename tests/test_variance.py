"""Where the spread of test accuracy comes from: components, both intervals, luck on these images, Brier scores."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fmnist_mlp.results import variance
from fmnist_mlp.results.statistics import mean_interval


def draw(rng, seeds, images, seed_std=0.06, image_std=1.8, mean=2.0):
    """A table of 0 and 1: a seed is good or bad at all images, an image easy or hard for all, the rest is chance.

    The probability of a 1 is Phi(mean + seed + image), so over seeds and images it is Phi(mean / sqrt(1 + variances)).
    """
    chances = mean + seed_std * rng.normal(size=(seeds, 1)) + image_std * rng.normal(size=images)
    truth = stats.norm.cdf(mean / math.sqrt(1 + seed_std**2 + image_std**2))
    return rng.normal(size=(seeds, images)) < chances, truth


# ---- mean squares


def test_mean_squares_by_hand():
    """Rows 1 1 0 0 and 1 0 0 0: means 1/2 and 1/4, of images 1, 1/2, 0, 0, of all 3/8."""
    squares = variance.mean_squares(np.array([[1, 1, 0, 0], [1, 0, 0, 0]]))
    assert (squares.mean, squares.seeds, squares.images) == (3 / 8, 2, 4)
    assert squares.of_seeds == pytest.approx(4 * (1 / 8) ** 2 * 2 / 1)
    assert squares.of_images == pytest.approx(2 * ((5 / 8) ** 2 + (1 / 8) ** 2 + 2 * (3 / 8) ** 2) / 3)
    # Of the rest, an eighth of both signs in columns 1, 3 and 4, and three eighths in column 2.
    assert squares.of_rest == pytest.approx((6 * (1 / 8) ** 2 + 2 * (3 / 8) ** 2) / 3)
    assert squares.luck_std == pytest.approx(math.sqrt(squares.of_rest / 4))


def test_mean_squares_are_those_of_an_analysis_of_variance_with_loops():
    table = np.random.default_rng(0).random((4, 7))
    n, images = table.shape
    everything = sum((table[s, i] - table.mean()) ** 2 for s in range(n) for i in range(images))
    between = [sum((line.mean() - table.mean()) ** 2 for line in lines) for lines in (table, table.T)]
    squares = variance.mean_squares(table)
    assert squares.of_seeds == pytest.approx(images * between[0] / (n - 1))
    assert squares.of_images == pytest.approx(n * between[1] / (images - 1))
    rest = everything - images * between[0] - n * between[1]
    assert squares.of_rest == pytest.approx(rest / ((n - 1) * (images - 1)))


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (1, 1)])
def test_one_seed_or_one_image_leaves_what_cannot_be_known_out(shape):
    squares = variance.mean_squares(np.ones(shape, bool))
    assert [squares.of_seeds is None, squares.of_images is None] == [shape[0] == 1, shape[1] == 1]
    assert (squares.of_rest, squares.luck_std) == (None, None)


# ---- the interval over seeds and images


def half_of(bounds):
    return (bounds.high - bounds.low) / 2


def test_one_seed_has_the_interval_of_a_binomial_share():
    correct = np.repeat([True, False], [880, 120])[None]
    bounds = variance.interval_over_images(variance.mean_squares(correct))
    half = stats.t.ppf(0.975, 999) * math.sqrt(0.88 * 0.12 / 999)
    assert bounds == pytest.approx((0.88 - half, 0.88 + half))


def test_the_variance_is_the_sum_of_the_components_with_satterthwaites_degrees_of_freedom():
    correct, _ = draw(np.random.default_rng(1), 12, 300, seed_std=0.3)
    s, i, r = (getattr(variance.mean_squares(correct), f"of_{name}") for name in ("seeds", "images", "rest"))
    components = {"seeds": (s - r) / 300, "images": (i - r) / 12, "rest": r}
    assert min(components.values()) > 0
    of_mean = components["seeds"] / 12 + components["images"] / 300 + r / 3600
    df = (s + i - r) ** 2 / (s**2 / 11 + i**2 / 299 + r**2 / (11 * 299))
    bounds = variance.interval_over_images(variance.mean_squares(correct))
    assert half_of(bounds) == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(of_mean))


def test_it_is_never_narrower_than_over_seeds_or_images_alone():
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(300):
        seeds, images = rng.integers(2, 6), rng.integers(2, 60)
        correct, _ = draw(rng, seeds, images, seed_std=rng.choice([0, 0.1, 2]), image_std=rng.choice([0, 0.5, 3]))
        squares = variance.mean_squares(correct)
        bounds = variance.interval_over_images(squares)
        for means in (correct.mean(axis=1), correct.mean(axis=0)):
            alone = mean_interval(means.tolist())
            assert bounds.low <= max(alone.low, 0) + 1e-12
            assert bounds.high >= min(alone.high, 1) - 1e-12
        seen.add((squares.of_seeds < squares.of_rest, squares.of_images < squares.of_rest))
        assert 0 <= bounds.low <= bounds.high <= 1
    assert seen >= {(True, False), (False, True), (False, False)}, "components that come out negative, too"


def test_models_that_agree_on_every_image_have_the_interval_of_one():
    correct = np.tile(np.random.default_rng(3).random(400) < 0.9, (3, 1))
    both, one = (variance.interval_over_images(variance.mean_squares(table)) for table in (correct, correct[:1]))
    assert both == pytest.approx(one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "images", "seed_std"),
    [(5, 1000, 0.06), (10, 1000, 0.06), (5, 300, 0.3), (20, 200, 0.1)],
    ids=["as in the default sweep", "more seeds", "seeds matter as much", "few images"],
)
def test_it_holds_the_true_accuracy_as_often_as_it_says(seeds, images, seed_std):
    rng, hits = np.random.default_rng(4), 0
    for _ in range(1500):
        correct, truth = draw(rng, seeds, images, seed_std)
        low, high = variance.interval_over_images(variance.mean_squares(correct))
        hits += low <= truth <= high
    assert 0.93 <= hits / 1500 <= 0.97


def test_over_seeds_alone_the_true_accuracy_of_other_images_is_missed_often():
    """What the second interval is for: the first is over seeds, on these images."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(500):
        correct, truth = draw(rng, 10, 1000)
        interval = mean_interval(correct.mean(axis=1).tolist())
        hits += interval.low <= truth <= interval.high
    assert hits / 500 < 0.75


def test_the_variance_is_that_of_a_bootstrap_of_seeds_and_images():
    """The pigeonhole bootstrap (Owen, Annals of Applied Statistics 1, 2007) draws both anew. It counts the rest once
    where the formula, unbiased, takes it off once, and divides by n where the formula divides by n - 1."""
    rng = np.random.default_rng(6)
    correct, _ = draw(rng, 60, 400, seed_std=0.3)
    n, images = correct.shape
    resamples = 4000
    seeds = rng.multinomial(n, [1 / n] * n, size=resamples)
    columns = rng.multinomial(images, [1 / images] * images, size=resamples)
    means = ((seeds @ correct.astype(float)) * columns).sum(axis=1) / (n * images)
    squares = variance.mean_squares(correct)
    expected = (means.var() - 2 * squares.of_rest / (n * images)) * n / (n - 1)
    ours = (squares.of_seeds + squares.of_images - squares.of_rest) / (n * images)
    # A variance of 4,000 draws has a standard error of 2.2 %; images would be corrected by 400 / 399, not by 60 / 59.
    assert ours == pytest.approx(expected, rel=4 * math.sqrt(2 / resamples) + 0.02)
    low, high = np.percentile(means, [2.5, 97.5])
    bounds = variance.interval_over_images(squares)
    assert half_of(bounds) == pytest.approx((high - low) / 2, rel=0.1)


# ---- luck on these images


def test_luck_is_what_the_halves_of_the_images_do_not_share_over_all_halvings():
    """Jordan, arXiv:2304.01910: the covariance over seeds of the accuracies on two halves, for each of 70 halvings."""
    correct = np.random.default_rng(7).random((5, 8)) < 0.6
    covariances = []
    for half in itertools.combinations(range(8), 4):
        other = [i for i in range(8) if i not in half]
        covariances.append(np.cov(correct[:, list(half)].mean(axis=1), correct[:, other].mean(axis=1))[0, 1])
    squares = variance.mean_squares(correct)
    on_these_images = correct.mean(axis=1).var(ddof=1)
    assert on_these_images - squares.luck_std**2 == pytest.approx(np.mean(covariances))
    closed = (64 * on_these_images - correct.var(axis=0, ddof=1).sum()) / (8 * 7)
    assert closed == pytest.approx(np.mean(covariances))


def made_spread(rng, seeds, images, seed_std):
    """Of tables with a known variance of seeds: the true one, and what is estimated."""
    values = 0.88 + seed_std * rng.normal(size=(seeds, 1)) + 0.1 * rng.normal(size=images)
    values = values + 0.2 * rng.normal(size=(seeds, images))
    return seeds, values.mean(axis=1).std(ddof=1), variance.mean_squares(values).luck_std


def test_luck_and_real_differences_are_told_apart():
    rng = np.random.default_rng(8)
    parts = [made_spread(rng, 10, 400, 0.02) for _ in range(200)]
    pooled = variance.spread(parts)
    assert pooled.df == 9 * 200
    assert pooled.luck == pytest.approx(0.2 / math.sqrt(400), rel=0.02)
    assert pooled.models == pytest.approx(0.02, rel=0.06)
    assert pooled.std**2 == pytest.approx(pooled.luck**2 + pooled.models**2)
    assert pooled.share_of_models == pytest.approx(0.8, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "seed_std"), [(5, 0.02), (20, 0.01), (20, 0.003)])
def test_the_intervals_of_a_spread_hold_the_true_one_as_often_as_they_say(seeds, seed_std):
    rng, hits = np.random.default_rng(9), np.zeros(2)
    for _ in range(1000):
        found = variance.spread([made_spread(rng, seeds, 400, seed_std)])
        truth = (math.sqrt(seed_std**2 + 0.01**2), seed_std)
        bounds = (found.std_bounds, found.models_bounds)
        hits += [low <= value <= high for value, (low, high) in zip(truth, bounds, strict=True)]
    assert (hits / 1000 >= 0.93).all()
    assert (hits / 1000 <= 0.97).all()


def test_without_real_differences_the_estimate_is_nothing_or_little_and_its_interval_begins_at_nothing():
    rng = np.random.default_rng(10)
    found = [variance.spread([made_spread(rng, 10, 400, 0.0)]) for _ in range(300)]
    negative = [one for one in found if one.is_negative]
    assert 0.4 < len(negative) / 300 < 0.7
    assert {(one.models, one.models_bounds.low, one.share_of_models) for one in negative} == {(0.0, 0.0, 0.0)}
    assert np.mean([one.models_bounds.low == 0 for one in found]) > 0.95


def test_pooled_variances_are_weighed_by_degrees_of_freedom():
    pooled = variance.spread([(3, 0.03, 0.02), (6, 0.01, 0.005)])
    assert pooled.std == pytest.approx(math.sqrt((2 * 0.03**2 + 5 * 0.01**2) / 7))
    assert pooled.luck == pytest.approx(math.sqrt((2 * 0.02**2 + 5 * 0.005**2) / 7))
    low, high = (math.sqrt(7 * pooled.std**2 / stats.chi2.ppf(share, 7)) for share in (0.975, 0.025))
    assert pooled.std_bounds == pytest.approx((low, high))


@pytest.mark.parametrize("df", [1, 2, 4, 9, 100, 3000])
@pytest.mark.parametrize("share", [0.005, 0.025, 0.5, 0.975, 0.995])
def test_quantiles_of_chi_square_are_scipys(share, df):
    assert variance.chi_square_quantile(share, df) == pytest.approx(stats.chi2.ppf(share, df), rel=1e-10)


def test_models_that_are_all_the_same_have_no_spread():
    found = variance.spread([(3, 0.0, 0.0)])
    assert (found.std, found.models, found.share_of_models, found.is_negative) == (0.0, 0.0, 0.0, False)


# ---- Brier scores


def test_brier_scores_are_those_of_scikit_learn_or_a_loop():
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 5, 40).astype(np.uint8)
    kept = rng.dirichlet(np.ones(5), 40).astype(np.float16)
    by_loop = [
        sum((float(p) - (k == label)) ** 2 for k, p in enumerate(row)) for label, row in zip(labels, kept, strict=True)
    ]
    assert variance.brier_score(labels, kept) == pytest.approx(np.mean(by_loop), rel=1e-12)
    from sklearn.metrics import brier_score_loss

    exact = rng.dirichlet(np.ones(5), 40)
    theirs = brier_score_loss(labels, exact, labels=range(5), scale_by_half=False)
    assert variance.brier_score(labels, exact) == pytest.approx(theirs)


def test_brier_scores_go_from_nothing_to_two():
    labels = np.array([0, 1, 2], np.uint8)
    assert variance.brier_score(labels, np.eye(3)) == 0
    assert variance.brier_score(labels, np.eye(3)[[1, 2, 0]]) == 2
