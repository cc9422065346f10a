"""The stand-in for Fashion-MNIST: ten kinds of garment drawn by numpy from a fixed seed.

For machines that can neither read nor download the real images. `make_garments` draws 28x28 gray images of the same
ten classes: silhouettes by signed distance (positive inside, one unit is half the picture), cut, joined and shaded on
a grid that each image shifts, shears and scales a little. The tops share one drawing and overlap on purpose (a Shirt
may have a T-shirt's sleeves or a Coat's front), so that architectures differ and none is perfect.

The pixels are the same on every machine: the random bits are raw PCG64 output, whose stream numpy guarantees, and all
arithmetic is elementwise float32 of operations that IEEE 754 rounds exactly (+ - * / sqrt, no sin or exp, no sums, no
BLAS). A test holds their SHA-256; whoever changes a pixel raises `GARMENTS_VERSION`, which is part of the data's
identity. Knows nothing of files or of Keras; `data` turns what comes out into a Dataset.
"""

import numpy as np

GARMENTS_VERSION = 1
TRAIN_IMAGES = 12_000
TEST_IMAGES = 2_000
IMAGE_SIZE = 28

_SEED = 20170825  # the day Fashion-MNIST was published
_PIXEL = 2.0 / IMAGE_SIZE  # the picture spans -1 to 1 both ways; v points down
_CHUNK = 200  # images drawn at once: their arrays stay in a core's cache


def make_garments():
    """Draws the stand-in data set; always the same images, balanced over the ten classes of Fashion-MNIST.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8, `(12000, 28, 28)` and `(2000, 28, 28)`; labels uint8,
        0 to 9 in Fashion-MNIST's order. The order of the images is random and fixed.
    """
    classes = len(_DRAWINGS)
    a_class = (TRAIN_IMAGES + TEST_IMAGES) // classes
    images = np.empty((classes, a_class, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for label in range(classes):
        for start in range(0, a_class, _CHUNK):
            count = min(_CHUNK, a_class - start)
            images[label, start : start + count] = draw_class(label, count, chunk=start // _CHUNK)

    train_of_class = TRAIN_IMAGES // classes
    train = _shuffled(images[:, :train_of_class], stream=0)
    test = _shuffled(images[:, train_of_class:], stream=1)
    return train, test


def draw_class(label, count, chunk=0):
    """Draws `count` images of class `label`; the same for the same arguments. Returns uint8, `(count, 28, 28)`."""
    rand = _Random((_SEED, GARMENTS_VERSION, label, chunk), count)
    u, v = _placed_grid(rand)
    silhouette, brightness = _DRAWINGS[label](rand, u, v)
    # Sensor-like grain: triangular noise on the garment only; the background stays black, as in the real images.
    brightness = brightness + rand.between(0.01, 0.06) * rand.grain()
    pixels = _cover(silhouette) * np.clip(brightness, 0.04, 1.0)
    return (pixels * 255.0 + 0.5).astype(np.uint8)


# ---- The ten classes: each returns (signed distance of the silhouette, brightness), float32, (n, 28, 28) ----


def _tshirt(rand, u, v):
    long_sleeves, no_sleeves = rand.chance(0.06), rand.chance(0.12)
    sleeve = np.where(long_sleeves, rand.between(0.9, 1.3), rand.between(0.25, 0.55))
    return _top(
        rand,
        u,
        v,
        sleeve=np.where(no_sleeves, -1.0, sleeve),
        hem=rand.between(0.62, 0.95),
        waist=rand.between(0.36, 0.52),
        neck_depth=rand.between(0.08, 0.34),
        opening=rand.chance(0.04),
        print_=rand.chance(0.45),
        patterned=0.30,
        light=rand.between(0.30, 0.95),
    )


def _trouser(rand, u, v):
    top, crotch, ankle = rand.between(-0.95, -0.82), rand.between(-0.50, -0.25), rand.between(0.72, 0.95)
    hip, spread = rand.between(0.26, 0.40), rand.between(0.00, 0.16)
    leg = hip * rand.between(0.32, 0.50)  # half the width of a leg at the ankle
    down = _ramp(v, top, ankle)
    across = np.abs(u)
    outer = hip * 0.85 + hip * 0.15 * _ramp(v, top, crotch) + (leg * 2.0 + spread - hip) * down
    gap = np.where(v > crotch, rand.between(0.0, 0.05) + spread * _ramp(v, crotch, ankle), -1.0)
    legs = np.minimum(np.minimum(outer - across, across - gap), np.minimum(v - top, ankle - v))
    light = _cloth(rand, u, v, rand.between(0.30, 0.95), patterned=0.15)
    light = light - 0.22 * _line(across - gap - 0.03, 0.05) - 0.15 * _line(v - top - 0.14, 0.04)
    light = light + 0.12 * _line(across - 0.5 * (outer + gap), 0.05) * rand.chance(0.5)  # crease
    return legs, light


def _pullover(rand, u, v):
    sleeve = np.where(rand.chance(0.10), rand.between(0.5, 0.95), rand.between(1.15, 1.55))
    return _top(
        rand,
        u,
        v,
        sleeve=sleeve,
        hem=rand.between(0.60, 0.92),
        waist=rand.between(0.38, 0.56),
        neck_depth=rand.between(0.00, 0.26),
        opening=rand.chance(0.05),
        print_=rand.chance(0.30),
        patterned=0.40,
        light=rand.between(0.25, 0.95),
    )


def _dress(rand, u, v):
    kind = rand.between(0.0, 1.0)
    sleeve = np.where(kind < 0.50, -1.0, np.where(kind < 0.85, rand.between(0.2, 0.5), rand.between(1.0, 1.5)))
    return _top(
        rand,
        u,
        v,
        sleeve=sleeve,
        hem=rand.between(0.84, 0.98),
        waist=rand.between(0.20, 0.34),
        flare=rand.between(0.02, 0.34),
        shoulder=rand.between(0.22, 0.36),
        neck_depth=rand.between(0.10, 0.45),
        opening=rand.chance(0.06),
        print_=rand.chance(0.05),
        patterned=0.35,
        light=rand.between(0.25, 0.95),
    )


def _coat(rand, u, v):
    return _top(
        rand,
        u,
        v,
        sleeve=rand.between(1.15, 1.60),
        hem=rand.between(0.70, 0.98),
        waist=rand.between(0.38, 0.54),
        neck_depth=rand.between(0.02, 0.38),
        opening=rand.chance(0.95),
        lapel=rand.chance(0.55),
        print_=rand.chance(0.03),
        patterned=0.20,
        light=rand.between(0.22, 0.88),
    )


def _sandal(rand, u, v):
    ground, rise = rand.between(0.42, 0.66), np.where(rand.chance(0.55), rand.between(0.35, 0.80), 0.0)
    thick = rand.between(0.05, 0.12)
    toe, heel = rand.between(-0.92, -0.78), rand.between(0.70, 0.90)
    # The sole lies flat at the toe (left) and climbs to the heel (right).
    climb = _smooth(_ramp(u, toe * 0.4, heel))
    sole_top = ground - thick - rise * climb
    wedge = rand.chance(0.3)
    sole_bottom = np.where(wedge, ground, sole_top + thick * 1.6)
    shoe = np.minimum(np.minimum(v - sole_top, sole_bottom - v), np.minimum(u - toe, heel - u))
    heel_post = _capsule(u, v, heel - 0.08, ground - rise, heel - rand.between(-0.02, 0.12), ground, 0.06)
    shoe = np.maximum(shoe, np.where(rise > 0.0, heel_post, -1.0))
    # Straps: over the toes, over the instep, round the ankle.
    front, instep = rand.between(-0.65, -0.40), rand.between(-0.15, 0.15)
    lift = rise * 0.55
    width = rand.between(0.035, 0.075)
    shoe = np.maximum(shoe, _capsule(u, v, front - 0.12, ground - thick, front + 0.12, ground - 0.32, width))
    x1, y1 = instep + rand.between(0.1, 0.4), ground - thick - lift * 0.6
    shoe = np.maximum(shoe, _capsule(u, v, front + 0.12, ground - 0.32, x1, y1, width))
    ankle_height = ground - rise - rand.between(0.25, 0.60)
    ankle = _ring(u, v, heel - 0.32, ankle_height, rand.between(0.16, 0.26), rand.between(0.09, 0.18), width * 0.8)
    counter = _capsule(u, v, heel - 0.06, ground - rise - thick, heel - 0.08, ankle_height, width)
    slanted = _capsule(u, v, instep, ground - thick - lift, heel - 0.35, ankle_height, width)
    has_ankle = rand.chance(0.65)
    shoe = np.maximum(shoe, np.where(has_ankle, np.maximum(ankle, counter), -1.0))
    shoe = np.maximum(shoe, np.where(rand.chance(0.6), slanted, -1.0))
    light = rand.between(0.30, 0.95) + rand.between(-0.35, 0.25) * (v > sole_top) + 0.12 * rand.grain()
    return shoe, light


def _shirt(rand, u, v):
    # The class in between: what its sleeves, front and collar leave open is shared with T-shirt, Pullover and Coat.
    sleeve = np.where(rand.chance(0.30), rand.between(0.30, 0.65), rand.between(1.05, 1.50))
    return _top(
        rand,
        u,
        v,
        sleeve=sleeve,
        hem=rand.between(0.66, 0.96),
        waist=rand.between(0.34, 0.52),
        neck_depth=rand.between(0.02, 0.38),
        opening=rand.chance(0.92),
        buttons=rand.chance(0.7),
        collar=rand.chance(0.9),
        print_=rand.chance(0.08),
        patterned=0.50,
        light=rand.between(0.25, 0.95),
    )


def _sneaker(rand, u, v):
    ground, sole = rand.between(0.34, 0.52), rand.between(0.07, 0.16)
    high_top = rand.chance(0.12)
    toe, heel = rand.between(-0.94, -0.84), rand.between(0.80, 0.94)
    toe_height, tongue = rand.between(0.16, 0.30), rand.between(0.00, 0.30)
    collar = np.where(high_top, rand.between(0.80, 1.05), rand.between(0.48, 0.72))
    rising = _smooth(_ramp(u, toe + 0.30, tongue))
    opening = 0.45 * tongue + 0.55 * (heel - 0.08)  # where the foot goes in
    dip = rand.between(0.10, 0.26) * _smooth(_line(u - opening, 0.16))
    top = ground - toe_height * _bulge(_ramp(u, toe - 0.02, toe + 0.30)) - (collar - toe_height) * rising + dip
    return _shoe(rand, u, v, top, toe, heel, ground, sole, tongue, laces=rand.chance(0.7), side_mark=rand.chance(0.6))


def _bag(rand, u, v):
    width, top, bottom = rand.between(0.52, 0.92), rand.between(-0.42, 0.10), rand.between(0.55, 0.90)
    taper = rand.between(-0.16, 0.16)
    across = np.abs(u)
    down = _ramp(v, top, bottom)
    half = width - np.abs(taper) * np.where(taper > 0.0, 1.0 - down, down)  # narrower above, or below
    body = np.minimum(half - across, np.minimum(v - top, bottom - v))
    corner = _rounded(half - across, np.minimum(v - top, bottom - v), rand.between(0.02, 0.30))
    body = np.minimum(body, corner)
    # A hoop handle, or straps that leave the sides and meet above, or none.
    reach, thick = rand.between(0.25, 0.75), rand.between(0.03, 0.07)
    hoop = _ring(u, v, 0.0, top, width * rand.between(0.35, 0.80), reach, thick)
    peak = top - rand.between(0.30, 0.70)
    strap = _capsule(across, v, width * 0.85, top + 0.05, rand.between(0.0, 0.15), peak, thick)
    kind = rand.between(0.0, 1.0)
    handle = np.where(kind < 0.50, np.where(v < top, hoop, -1.0), np.where(kind < 0.80, strap, -1.0))
    light = _cloth(rand, u, v, rand.between(0.25, 0.95), patterned=0.25)
    flap = top + (bottom - top) * rand.between(0.25, 0.60)
    light = light - 0.25 * _line(v - flap - rand.between(-0.1, 0.25) * across, 0.05) * rand.chance(0.6)
    clasp = _cover(_box(u, v, 0.0, flap, 0.09, 0.08)) * rand.chance(0.5)
    light = light + clasp * rand.between(-0.5, 0.6)
    light = light - 0.15 * _line(body - 0.08, 0.05) * rand.chance(0.5)  # seam
    return np.maximum(body, handle), light


def _ankle_boot(rand, u, v):
    ground, sole = rand.between(0.62, 0.84), rand.between(0.05, 0.13)
    toe, heel = rand.between(-0.94, -0.78), rand.between(0.58, 0.82)
    toe_height, shaft = rand.between(0.18, 0.34), rand.between(0.75, 1.55)
    ankle = rand.between(-0.10, 0.18)  # where the shaft's front stands
    # From the toe cap a gentle instep, then the shaft's steep front.
    steep = _ramp(u, ankle - 0.10, ankle + rand.between(0.02, 0.12))
    rising = 0.30 * _smooth(_ramp(u, toe + 0.25, ankle)) + 0.70 * steep
    top = ground - toe_height * _bulge(_ramp(u, toe - 0.02, toe + 0.34)) - (shaft - toe_height) * rising
    top = top + rand.between(-0.08, 0.10) * _ramp(u, ankle, heel)  # the opening tilts
    lift = np.where(rand.chance(0.55), rand.between(0.10, 0.40), 0.0)  # a heel
    boot, light = _shoe(
        rand, u, v, top, toe, heel, ground, sole, ankle, laces=rand.chance(0.35), side_mark=rand.chance(0.15)
    )
    arch = np.minimum(v - (ground - lift * _smooth(_ramp(u, toe + 0.3, heel - 0.35))), (heel - 0.28) - u)
    boot = np.where(lift > 0.0, np.minimum(boot, -arch), boot)
    light = light - 0.18 * _line(u - (heel - 0.30), 0.08) * (v < ground - 0.35) * rand.chance(0.4)  # elastic
    return boot, light


_DRAWINGS = (_tshirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _ankle_boot)


# ---- What several classes share ----


def _top(
    rand,
    u,
    v,
    *,
    sleeve,
    hem,
    waist,
    neck_depth,
    opening,
    print_,
    patterned,
    light,
    flare=None,
    shoulder=None,
    lapel=None,
    buttons=None,
    collar=None,
):
    """A garment for the upper body: torso, two sleeves (`sleeve` is their length; below 0, none), neck, front."""
    across = np.abs(u)
    shoulder = rand.between(0.40, 0.54) if shoulder is None else shoulder
    flare = rand.between(-0.05, 0.08) if flare is None else flare
    top = rand.between(-0.92, -0.78)

    # Torso: shoulders slope, sides run to the waist and from there to the hem.
    middle = top + 0.85
    half = shoulder + (waist - shoulder) * _ramp(v, top + 0.25, middle) + flare * _ramp(v, middle, hem)
    slope = rand.between(0.15, 0.40)
    torso = np.minimum(np.minimum(half - across, hem - v), v - top - slope * (across - 0.2))

    # Sleeves: hang from the shoulder, short ones stand out more.
    width = rand.between(0.12, 0.19)
    x0, y0 = shoulder - width * 0.8, top + width + 0.08
    reach = np.maximum(sleeve, 0.1)
    x1 = x0 + 0.10 + reach * rand.between(0.04, 0.24)
    y1 = y0 + reach * rand.between(0.80, 1.0)
    arm = np.minimum(_capsule(across, v, x0, y0, x1, y1, width - 0.035 * reach), y1 - v + 0.06)
    arm = np.where(sleeve < 0.0, -1.0, arm)
    silhouette = np.maximum(torso, arm)

    # Neck: round or pointed.
    neck_width = rand.between(0.12, 0.26)
    fallen = v - top + 0.04
    pointed = neck_depth * (1.0 - across / neck_width) - fallen
    round_ = (1.0 - np.sqrt(np.square(u / neck_width) + np.square(fallen / (neck_depth + 0.02)))) * neck_width
    neck = np.where(rand.chance(0.35), pointed, round_)
    silhouette = np.minimum(silhouette, -neck)

    # Cloth, then what is drawn on it: the seam between arm and body, the collar, the front, a print.
    brightness = _cloth(rand, u, v, light, patterned)
    brightness = brightness - 0.30 * _line(half - across, 0.045) * (arm > 0.0) * (v > top + 0.35)
    brightness = brightness + rand.between(-0.30, 0.15) * _line(neck + 0.05, 0.05)
    front = _line(u - rand.between(-0.03, 0.03), rand.between(0.04, 0.09)) * (neck < 0.0) * opening
    if buttons is not None:
        front = front * np.where(buttons, 0.5 + 0.5 * _wave(v, rand.between(2.5, 4.0), 0.0), 1.0)
    contrast = rand.between(0.30, 0.60)
    brightness = brightness - np.where(rand.chance(0.3), contrast * -0.8, contrast) * front
    if collar is not None:
        leaf = _capsule(across, v, neck_width * 0.9, top, 0.06, top + neck_depth + 0.10, 0.05)
        brightness = brightness + _cover(leaf) * collar * rand.between(0.15, 0.45)
    if lapel is not None:
        wing = _line(across - 0.30 * (1.0 - _ramp(v, top, top + rand.between(0.5, 0.9))), 0.06) * (v < top + 0.9)
        brightness = brightness - 0.28 * wing * lapel
    x, y = rand.between(-0.08, 0.08), top + rand.between(0.45, 0.85)
    badge = _box(u, v, x, y, rand.between(0.08, 0.26), rand.between(0.05, 0.26))
    brightness = brightness + _cover(badge) * print_ * rand.between(-0.6, 0.6)
    return silhouette, brightness


def _shoe(rand, u, v, top, toe, heel, ground, sole, tongue, *, laces, side_mark):
    """A closed shoe in profile, toe left: everything between the outline `top` and the ground; a sole below."""
    shoe = np.minimum(np.minimum(v - top, ground - v), np.minimum(u - toe, heel - u))
    light = _cloth(rand, u, v, rand.between(0.25, 0.92), patterned=0.12)
    below = _cover(v - (ground - sole))
    light = light + (rand.between(0.15, 0.98) - light) * below * rand.chance(0.85)
    light = light - 0.25 * _line(v - (ground - sole), 0.05)
    crossings = _wave(v + 0.6 * u, rand.between(4.0, 6.0), 0.0) > 0.2
    tied = _line(u - tongue + 0.18, 0.16) * crossings * (v < ground - sole - 0.06)
    light = light + rand.between(-0.4, 0.4) * tied * laces
    x0, x1 = rand.between(-0.25, 0.05), rand.between(0.2, 0.5)
    mark = _capsule(u, v, x0, ground - 0.14, x1, ground - 0.36, rand.between(0.03, 0.08))
    light = light + rand.between(-0.5, 0.5) * _cover(mark) * side_mark
    return shoe, light


def _cloth(rand, u, v, light, patterned):
    """Brightness of a fabric: a base, a fold's shadow, on a share `patterned` of images stripes, checks, blotches."""
    kind = rand.between(0.0, 1.0) / patterned  # below 1: patterned
    depth = rand.between(0.10, 0.40)
    lying = ((kind < 0.40) | ((kind >= 0.60) & (kind < 0.75))) * depth
    standing = ((kind >= 0.40) & (kind < 0.75)) * depth
    blotched = ((kind >= 0.75) & (kind < 1.0)) * depth
    # Same frequency both ways, so that checks are squares.
    frequency = rand.between(1.2, 4.5)
    brightness = light - rand.between(0.0, 0.14) * np.abs(u - rand.between(-0.3, 0.3)) * 2.0
    brightness = brightness + rand.between(-0.12, 0.12) * v
    brightness = brightness + lying * _wave(v, frequency, rand.between(0.0, 1.0))
    brightness = brightness + standing * _wave(u, frequency, rand.between(0.0, 1.0))
    return brightness + blotched * rand.blotches()


def _placed_grid(rand):
    """Pixel centres in the garment's own coordinates: each image is shifted, scaled and sheared by its own little."""
    centres = (np.arange(IMAGE_SIZE, dtype=np.float32) + np.float32(0.5)) * np.float32(_PIXEL) - np.float32(1.0)
    x, y = centres[None, None, :], centres[None, :, None]
    x = (x - rand.between(-0.11, 0.11)) / rand.between(0.88, 1.08)
    y = (y - rand.between(-0.09, 0.09)) / rand.between(0.90, 1.04)
    u = x - rand.between(-0.09, 0.09) * y  # (n, 28, 28)
    v = y - rand.between(-0.06, 0.06) * x  # (n, 28, 28)
    return u, v


# ---- Signed distances and shades, elementwise ----


def _cover(distance):
    """How much of a pixel lies inside, 0 to 1: the edge is one pixel soft."""
    return np.clip(distance * (1.0 / _PIXEL) + 0.5, 0.0, 1.0)


def _line(distance, half_width):
    """1 on the line where `distance` is 0, falling to 0 at twice `half_width`."""
    return np.clip(2.0 - np.abs(distance) / half_width, 0.0, 1.0)


def _ramp(x, start, stop):
    return np.clip((x - start) / (stop - start), 0.0, 1.0)


def _smooth(t):
    return t * t * (3.0 - 2.0 * t)


def _bulge(t):
    """From 0 steeply, then level at 1: a quarter of a circle, as a toe cap is."""
    return np.sqrt(t * (2.0 - t))


def _wave(x, frequency, phase):
    """A triangle wave between -1 and 1."""
    turns = x * frequency + phase
    return np.abs(turns - np.floor(turns) - 0.5) * 4.0 - 1.0


def _box(u, v, x, y, half_width, half_height):
    return np.minimum(half_width - np.abs(u - x), half_height - np.abs(v - y))


def _rounded(to_side, to_end, radius):
    """Cuts a corner of `radius` where both distances to the edges are smaller than it."""
    a, b = np.maximum(radius - to_side, 0.0), np.maximum(radius - to_end, 0.0)
    return radius - np.sqrt(a * a + b * b)


def _capsule(u, v, x0, y0, x1, y1, radius):
    """A stroke of `radius` from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    a, b = u - x0, v - y0
    along = np.clip((a * dx + b * dy) / (dx * dx + dy * dy + 1e-6), 0.0, 1.0)
    a, b = a - along * dx, b - along * dy
    return radius - np.sqrt(a * a + b * b)


def _ring(u, v, x, y, half_width, half_height, radius):
    """The outline of an ellipse, drawn with a pen of `radius`."""
    from_centre = np.sqrt(np.square((u - x) / half_width) + np.square((v - y) / half_height))
    return radius - np.abs(from_centre - 1.0) * np.minimum(half_width, half_height)


class _Random:
    """Random numbers for `count` images from raw PCG64 bits, the same on every machine and numpy version."""

    def __init__(self, seed, count):
        self._bits = np.random.PCG64(seed)
        self._count = count

    def between(self, low, high):
        """One float32 an image, uniform in [low, high); shape (count, 1, 1)."""
        unit = (self._bits.random_raw(self._count) >> 40).astype(np.float32) * np.float32(2.0**-24)
        return (unit * np.float32(high - low) + np.float32(low)).reshape(-1, 1, 1)

    def chance(self, probability):
        """One bool an image, true with `probability`; shape (count, 1, 1)."""
        return self.between(0.0, 1.0) < probability

    def grain(self):
        """Triangular noise a pixel, float32 in (-1, 1); shape (count, 28, 28)."""
        a, b = self._bytes((2, self._count, IMAGE_SIZE, IMAGE_SIZE))
        return (a - b) * np.float32(1.0 / 256.0)

    def blotches(self):
        """Blocks of four pixels, each of one random shade, float32 in [-1, 1); shape (count, 28, 28)."""
        blocks = self._bytes((self._count, IMAGE_SIZE // 4, IMAGE_SIZE // 4))
        return (blocks * np.float32(1.0 / 128.0) - np.float32(1.0)).repeat(4, axis=1).repeat(4, axis=2)

    def _bytes(self, shape):
        size = int(np.prod(shape))
        raw = self._bits.random_raw(-(-size // 8)).astype("<u8", copy=False)
        return raw.view(np.uint8)[:size].reshape(shape).astype(np.float32)


def _shuffled(images, stream):
    """Images by class, (classes, n, 28, 28), in one fixed random order, with their labels."""
    classes, a_class = images.shape[:2]
    labels = np.repeat(np.arange(classes, dtype=np.uint8), a_class)
    keys = np.random.PCG64((_SEED, GARMENTS_VERSION, 1000 + stream)).random_raw(len(labels))
    order = np.argsort(keys, kind="stable")
    return images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)[order], labels[order]
