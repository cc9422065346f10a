"""Where the spread of test accuracy comes from: seeds, test images, and what is between the two.

All of it follows from the table correct[seed, image], 1 where the model of a seed classifies a test image correctly,
with folds the mean over the seed's folds. In a model with two crossed random effects and no replication,
value = mean + seed + image + rest, its mean squares (`mean_squares`) give

- what another draw of seeds and of test images would give (`interval_over_images`);
- how much of the variance over seeds is luck on these very images (`MeanSquares.luck_std`), and how much is left for
  real differences between the trained models (`Spread`).

Nothing here knows of trials, files or Keras. Only numpy at the top, as in `statistics`.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEWEST_SEEDS = 5  # of an architecture whose spread is taken apart for people: of fewer it is known to a factor of 3


class Bounds(NamedTuple):
    """The ends of an interval; None where nothing is known."""

    low: float | None = None
    high: float | None = None


class MeanSquares(NamedTuple):
    """Mean squares of a table of `seeds` rows and `images` columns; None without two seeds, or two images.

    With components of variance s for seeds, i for images and r for the rest, their expectations are r + images s,
    r + seeds i and r (Searle, Casella and McCulloch, "Variance Components", 1992, section 4.3 without replication).
    """

    mean: float
    seeds: int
    images: int
    of_seeds: float | None
    of_images: float | None
    of_rest: float | None

    @property
    def luck_std(self) -> float | None:
        """Standard deviation over seeds of accuracy on these images, were the models equally good: that of the rest.

        A seed's accuracy varies with s + r / images; r / images is luck, which other images would not repeat. So
        s = (of_seeds - of_rest) / images is the variance of real differences. This is what Jordan (arXiv:2304.01910)
        estimates by the covariance over seeds of accuracies on two halves of the test images, averaged over all
        halvings. For a halving H that covariance is (2 / N)² sum C_ij over i in H and j not in H, with C the covariance
        of images over seeds; a pair of images is parted in N / (2 (N - 1)) of halvings, so the average is sum C_ij over
        i ≠ j, divided by N (N - 1), or (N² Var(mean) - sum Var(c_i)) / (N (N - 1)): the same number.
        """
        return None if self.of_rest is None else math.sqrt(self.of_rest / self.images)


def mean_squares(correct: np.ndarray) -> MeanSquares:
    """
    Args:
        correct: `(seeds, images)`, bool or shares from 0 to 1.
    """
    values = np.asarray(correct, np.float64)
    seeds, images = values.shape
    mean = float(values.mean())
    seed_effects = values.mean(axis=1) - mean  # (seeds,)
    image_effects = values.mean(axis=0) - mean  # (images,)
    of_seeds = of_images = of_rest = None
    if seeds > 1:
        of_seeds = float(images * (seed_effects**2).sum() / (seeds - 1))
    if images > 1:
        of_images = float(seeds * (image_effects**2).sum() / (images - 1))
    if seeds > 1 and images > 1:
        rest = values - mean - seed_effects[:, None] - image_effects
        of_rest = float((rest**2).sum() / ((seeds - 1) * (images - 1)))
    return MeanSquares(mean, seeds, images, of_seeds, of_images, of_rest)


def interval_over_images(squares: MeanSquares, confidence: float = 0.95) -> Bounds:
    """Accuracy that seeds and test images of this kind have in the mean, when both could be others.

    The mean of the table has the variance (of_seeds + of_images - of_rest) / (seeds images), with degrees of freedom by
    Satterthwaite (Biometrics Bulletin 2, 1946). Where an estimate of a component would be negative, it counts as 0.
    The interval is never narrower than that over seeds alone or images alone: with two seeds, Student's t of one degree
    of freedom is wider than what many images seem to add. One seed leaves images alone, so it is then that
    one model's interval, as of a binomial share. It is cut off at 0 and 1.
    """
    n, images = squares.seeds, squares.images
    if squares.of_images is None:
        return Bounds()
    sums = [(squares.of_images, images - 1)]  # mean squares, their degrees of freedom
    if n > 1:
        sums.append((squares.of_seeds, n - 1))
        both = squares.of_seeds + squares.of_images - squares.of_rest
        if both > max(squares.of_seeds, squares.of_images):  # no component is negative
            rest = (squares.of_rest, (n - 1) * (images - 1))
            sums.append((both, both**2 / sum(square**2 / df for square, df in (*sums, rest))))
    # Here, because it takes a seventh of a second to import.
    from scipy.special import stdtrit

    half = max(float(stdtrit(df, (1 + confidence) / 2)) * math.sqrt(square / (n * images)) for square, df in sums)
    return Bounds(max(0.0, squares.mean - half), min(1.0, squares.mean + half))


class Spread(NamedTuple):
    """The spread of test accuracy over seeds and what it is made of; standard deviations with 95 % intervals.

    Args:
        df: degrees of freedom that it is known with: of one architecture its seeds less one.
        std: on these test images.
        luck: the part that these images bring, which others would not repeat.
        models: the part that is real difference between the trained models: std² = models² + luck².
        is_negative: the estimate of models² came out negative, and counts as 0: luck explains all there is.
    """

    df: int
    std: float
    std_bounds: Bounds
    luck: float
    models: float
    models_bounds: Bounds
    is_negative: bool

    @property
    def share_of_models(self) -> float:
        """Of the variance over seeds, 0 to 1; 0 where there is none."""
        return self.models**2 / self.std**2 if self.std else 0.0


def spread(parts: Sequence[tuple[int, float, float]], confidence: float = 0.95) -> Spread:
    """Take a spread apart; several architectures are pooled, their variances weighed by degrees of freedom.

    Intervals take accuracies for normal over seeds, so that a variance is distributed as chi-square; luck, known from
    thousands of images, counts as known. Pooled, they are of the mean variance of these architectures.

    Args:
        parts: of each architecture its seeds (2 or more), and the standard deviations over seeds and of luck.
    """
    df = sum(seeds - 1 for seeds, _, _ in parts)
    variance = sum((seeds - 1) * std**2 for seeds, std, _ in parts) / df
    luck = sum((seeds - 1) * luck**2 for seeds, _, luck in parts) / df
    ends = [df * variance / chi_square_quantile((1 + sign * confidence) / 2, df) for sign in (1, -1)]
    low, high = (math.sqrt(end) for end in ends)
    low_models, high_models = (math.sqrt(max(0.0, end - luck)) for end in ends)
    return Spread(
        df=df,
        std=math.sqrt(variance),
        std_bounds=Bounds(low, high),
        luck=math.sqrt(luck),
        models=math.sqrt(max(0.0, variance - luck)),
        models_bounds=Bounds(low_models, high_models),
        is_negative=variance < luck,
    )


def chi_square_quantile(share: float, df: int) -> float:
    """Without scipy, since the notes below a table that is remembered need it, and a rerun with nothing to do is quick.

    By Newton's method from Wilson and Hilferty's approximation, on the series of the incomplete gamma function
    (NIST DLMF 8.7.1).
    """
    z = statistics.NormalDist().inv_cdf(share)
    quantile = df * max(0.01, 1 - 2 / (9 * df) + z * math.sqrt(2 / (9 * df))) ** 3
    half = df / 2
    for _ in range(100):
        x = quantile / 2
        density = math.exp((half - 1) * math.log(x) - x - math.lgamma(half))  # of x
        term, below, k = density * x / half, 0.0, half  # terms of the share below x
        while term > 1e-17:
            below += term
            k += 1
            term *= x / k
        step = 2 * (below - share) / density
        quantile = max(quantile / 2, quantile - step)
        if abs(step) <= 1e-13 * quantile:
            break
    return quantile


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over images of the sum over classes of (probability - [class is the label])²: 0 (sure and right) to 2.

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Args:
        labels: integers `(n,)`, at least one.
        probabilities: `(n, num_classes)`, any float type.
    """
    chances = probabilities.astype(np.float64)
    of_label = chances[np.arange(len(labels)), labels]
    # sum (p - e)² = sum p² - 2 p_label + 1
    return float(np.mean(np.einsum("ij,ij->i", chances, chances) - 2 * of_label + 1))
