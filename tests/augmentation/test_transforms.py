"""The transforms one by one: what they do to an image, how they are drawn, that they are the identity at p = 0."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.augmentation import colour, corruption, filtering, geometric, wavelets
from genjax.augmentation.pipeline import PLACE, VALUE, pipeline
from genjax.augmentation.resampling import _table, affine, weights
from genjax.typing import UserError

SYM2 = np.array([-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025])
SYM6 = np.concatenate(
    [
        [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633],
        [0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252],
        [-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148],
    ]
)
N = 2000
KEYS = jax.random.split(jax.random.key(0), N)
ONE = jnp.ones(())


def image(shape=(8, 8, 3), seed=0):
    return jax.random.uniform(jax.random.key(seed), shape, minval=-1.0)


@functools.cache
def drawn(function, p, *args):
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, p, *args)))(KEYS))


@pytest.mark.parametrize(("symlet", "moments"), [(SYM2, 2), (SYM6, 6)])
def test_half_band_is_the_autocorrelation_of_the_symlet(symlet, moments):
    expected = np.convolve(symlet, symlet[::-1]) / 2
    np.testing.assert_allclose(wavelets.half_band(moments), expected, atol=1e-10)


def test_reflection_is_numpys():
    expected = np.pad(np.arange(5), 12, mode="reflect")
    np.testing.assert_array_equal(wavelets.reflect(np.arange(-12, 17), 5), expected)
    np.testing.assert_array_equal(wavelets.reflect(np.arange(-3, 4), 1), 0)


def test_interpolation_is_exact_for_polynomials_and_smooth_waves():
    """Far from the border; between the eighths of the table the weights are linear."""
    n = 40
    at = np.arange(14, 26, 0.125)
    matrix = np.asarray(weights(jnp.asarray(at, jnp.float32), n), np.float64)
    pixels = np.arange(n)
    for degree in (0, 1, 5, 11):
        values = ((pixels - 20) / 20.0) ** degree
        np.testing.assert_allclose(matrix @ values, ((at - 20) / 20.0) ** degree, atol=2e-7)
    between = at + 0.0625
    matrix = np.asarray(weights(jnp.asarray(between, jnp.float32), n))
    np.testing.assert_allclose(matrix @ np.sin(pixels), np.sin(between), atol=5e-3)


def test_row_goes_on_reflected_without_an_end():
    n = 5
    at = jnp.arange(-23.0, 24.0)
    row = np.arange(1.0, n + 1)
    expected = row[wavelets.reflect(np.arange(-23, 24), n)]
    np.testing.assert_array_equal(np.asarray(weights(at, n)) @ row, expected)
    half = np.asarray(weights(at + 0.5, n)) @ row
    np.testing.assert_allclose(half[:8], half[8:16], atol=1e-5)  # the period is 2 (n - 1)
    assert _table(1).shape[1] == 1


@pytest.mark.parametrize("shape", [(8, 8, 3), (6, 9, 1)])
@pytest.mark.parametrize("name", [*PLACE, *VALUE])
def test_nothing_happens_at_p_zero(name, shape):
    x = image(shape)[None]
    y = jax.jit(pipeline((name,)))(KEYS[:1], x, jnp.zeros(()))
    np.testing.assert_array_equal(y, x)


def test_blit_is_numpys_flip_rot90_and_move():
    """Every draw is one of 2 x 4 x 3 x 3 exact rearrangements, each about equally often."""
    x = np.asarray(image((8, 8, 1)))
    seen = {}
    for flip in (False, True):
        for quarters in range(4):
            turned = np.rot90(x[:, ::-1] if flip else x, quarters)
            padded = np.pad(turned, ((1, 1), (1, 1), (0, 0)), mode="reflect")
            for i, j in np.ndindex(3, 3):
                # A move down by one shows what was above.
                seen[padded[2 - i : 10 - i, 2 - j : 10 - j].tobytes()] = (flip, quarters, i - 1, j - 1)
    n = 600
    results = jax.jit(pipeline(("blit",)))(KEYS[:n], jnp.broadcast_to(x, (n, *x.shape)), ONE)
    kinds = np.array([seen[np.asarray(y).tobytes()] for y in results])
    spread = 4 * math.sqrt(0.25 / n)
    assert abs(kinds[:, 0].mean() - 0.5) < spread
    np.testing.assert_allclose(np.bincount(kinds[:, 1]) / n, 0.25, atol=spread)
    # U(-1, 1), rounded: 0 half of the time.
    for axis in (2, 3):
        np.testing.assert_allclose(np.bincount(kinds[:, axis] + 1) / n, [0.25, 0.5, 0.25], atol=spread)


def test_turn_is_counter_clockwise_and_exact():
    x = image((8, 8, 2))
    np.testing.assert_array_equal(affine(x, geometric._turn(jnp.zeros(()), ONE)[:2]), np.rot90(x))


def test_probability_of_geometric_transforms():
    """At p = 0.3: of scale and stretch alike, of a move, of at least one turn."""
    p = 0.3
    maps = drawn(geometric.geometric, p, (8, 16))
    linear, moves = maps[:, :2, :2], maps[:, :2, 2]
    spread = 4 * math.sqrt(p * (1 - p) / N)
    zooms = np.linalg.det(linear)
    assert abs((np.abs(zooms - 1) > 1e-5).mean() - p) < spread
    singular = np.linalg.svd(linear, compute_uv=False)
    assert abs((singular[:, 0] / singular[:, 1] > 1 + 1e-4).mean() - p) < spread
    rigid = (np.abs(singular - 1) < 1e-5).all(1)
    turned = np.abs(linear[rigid] - np.eye(2)).max((1, 2)) > 1e-4
    assert abs(turned.mean() - p) < 4 * math.sqrt(p * (1 - p) / rigid.sum())
    assert abs(np.any(moves != 0, 1).mean() - p) < spread


def test_size_of_geometric_transforms():
    maps = drawn(geometric.geometric, 1.0, (8, 16))
    # The area's factor is the square of the scale; a target pixel of a larger image is nearer to its source.
    octaves = np.log2(np.linalg.det(maps[:, :2, :2])) / 2
    assert abs(octaves.std() / 0.2 - 1) < 0.08 and abs(octaves.mean()) < 0.02
    singular = np.linalg.svd(maps[:, :2, :2], compute_uv=False)
    stretch = np.log2(singular[:, 0] / singular[:, 1]) / 2
    assert abs(np.sqrt(np.square(stretch).mean()) / 0.2 - 1) < 0.08
    moves = np.einsum("nij,nj->ni", np.linalg.inv(maps[:, :2, :2]), maps[:, :2, 2])
    np.testing.assert_allclose(moves.std(0), [1.0, 2.0], rtol=0.08)


def test_larger_scale_shows_the_middle():
    x = image((8, 8, 1))
    y = affine(x, jnp.array([[0.0, 0.0, 0.5], [0.0, 0.0, -1.5]]))
    np.testing.assert_allclose(y, np.full((8, 8, 1), x[4, 2, 0]), atol=1e-6)


def test_hue_luma_and_saturation_are_what_they_are_called():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(100, 3)).astype(np.float32)
    luma = c.mean(1, keepdims=True)
    turned = c @ np.asarray(colour.turn_hue(jnp.float32(1.0))).T
    np.testing.assert_allclose(turned.mean(1, keepdims=True), luma, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(c, axis=1), rtol=1e-5)
    third = colour.turn_hue(jnp.float32(2 * math.pi / 3))
    np.testing.assert_allclose(c @ np.asarray(third).T, np.roll(c, 1, axis=1), atol=1e-5)
    grey = c @ np.asarray(colour.saturate(jnp.zeros(()))).T
    np.testing.assert_allclose(grey, np.broadcast_to(luma, (100, 3)), atol=1e-6)
    np.testing.assert_allclose(c @ np.asarray(colour.saturate(2 * ONE)).T, luma + 2 * (c - luma), atol=1e-5)
    flipped = c @ np.asarray(colour.flip_luma(ONE)).T
    np.testing.assert_allclose(flipped, c - 2 * luma, atol=1e-5)


def test_colour_is_its_matrix_and_keeps_grey_images_grey():
    x = image()
    matrix, offset = colour.draw(KEYS[0], ONE)
    np.testing.assert_allclose(colour.colour(KEYS[0], ONE, x), x @ matrix.T + offset[None, None], atol=1e-5)
    grey = image((8, 8, 1))
    y = colour.colour(KEYS[0], ONE, grey)
    of_colour = colour.colour(KEYS[0], ONE, jnp.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(jnp.repeat(y, 3, axis=-1), of_colour, atol=1e-5)
    with pytest.raises(UserError, match="2 channels"):
        colour.colour(KEYS[0], ONE, image((4, 4, 2)))


def test_draws_of_colour():
    """Of a grey level x the map makes ``+-contrast * (x + brightness)``."""
    matrices, offsets = jax.jit(jax.vmap(colour.draw, in_axes=(0, None)))(KEYS, ONE)
    factor = np.asarray(matrices.sum((1, 2)) / 3)
    brightness = np.asarray(offsets.mean(1)) / factor
    assert abs(brightness.std() / 0.2 - 1) < 0.08 and abs(brightness.mean()) < 0.02
    assert abs((factor < 0).mean() - 0.5) < 0.045
    octaves = np.log2(np.abs(factor))
    assert abs(octaves.std() / 0.5 - 1) < 0.08 and abs(octaves.mean()) < 0.05
    saturation = np.log2(np.abs(np.linalg.det(np.asarray(matrices))) / np.abs(factor) ** 3) / 2
    assert abs(saturation.std() - 1) < 0.08
    # Turned by all angles alike: the mean of the cosine, over the turns of (1, -1, 0), is 0.
    moved = np.einsum("nij,j->ni", matrices, [1.0, -1.0, 0.0])
    cosine = (moved[:, 0] - moved[:, 1]) / np.linalg.norm(moved, axis=1) / math.sqrt(2)
    assert abs(cosine.mean()) < 0.07 and abs(cosine.std() - math.sqrt(0.5)) < 0.03


def test_bands_add_up_and_pass_what_they_should():
    filters = filtering.band_filters()
    total = np.zeros(len(filters[0]))
    for taps in filters:
        start = (len(total) - len(taps)) // 2
        total[start : start + len(taps)] += taps
    np.testing.assert_allclose(total, np.eye(1, len(total), len(total) // 2)[0], atol=1e-15)
    # Gain of each band at the middle of each octave.
    for band, taps in enumerate(filters):
        offset = np.arange(len(taps)) - len(taps) // 2
        gains = [(taps * np.cos(w * offset)).sum() for w in (0.0, *np.array([3, 6, 12]) * math.pi / 16)]
        assert np.argmax(gains) == band and gains[band] > 0.7, gains


def test_amplification_is_a_filter_of_rows_and_columns():
    x = image((16, 12, 2))
    gains = np.asarray(filtering.draw_gains(KEYS[3], ONE))
    taps = np.zeros(len(filtering.band_filters()[0]))
    for gain, band in zip(gains, filtering.band_filters(), strict=True):
        start = (len(taps) - len(band)) // 2
        taps[start : start + len(band)] += gain * band
    expected = np.asarray(x, np.float64)
    for axis in (0, 1):
        expected = np.stack(
            [
                sum(
                    tap
                    * np.take(
                        expected, wavelets.reflect(np.array(i + k - len(taps) // 2), x.shape[axis]), axis
                    )
                    for k, tap in enumerate(taps)
                )
                for i in range(x.shape[axis])
            ],
            axis,
        )
    np.testing.assert_allclose(filtering.amplify(KEYS[3], ONE, x), expected, atol=1e-4)


def test_gains_are_drawn_band_by_band_and_keep_the_power():
    gains = drawn(filtering.draw_gains, 0.1)
    changed = (gains != 1).any(1).mean()
    assert abs(changed - (1 - 0.9**4)) < 0.045
    # Where one band was drawn, the other three have the same gain and the expected power is 1.
    ratios = np.sort(gains, axis=1)
    single = (gains != 1).any(1) & (np.isclose(ratios[:, 1], ratios[:, 2]))
    power = (np.square(gains[single]) * np.array([10, 1, 1, 1]) / 13).sum(1)
    one = np.isclose(power, 1, atol=1e-5)
    assert one.mean() > 0.75  # else two bands that were drawn are at the ends


def test_noise_has_a_half_normal_deviation():
    x = jnp.zeros((N, 8, 8, 1))
    y = np.asarray(jax.jit(pipeline(("noise",)))(KEYS, x, ONE))
    sigma = y.std((1, 2, 3))
    assert abs(y.mean()) < 0.002
    assert abs(np.sqrt(np.square(sigma).mean()) / 0.1 - 1) < 0.06
    assert abs(np.median(sigma) / 0.06745 - 1) < 0.12


def test_cutout_is_a_half_by_half_rectangle_about_any_centre():
    y = np.asarray(jax.jit(jax.vmap(lambda key: corruption.cutout(key, ONE, jnp.ones((16, 8, 1)))))(KEYS))
    hole = y[..., 0] == 0
    # Near the border the rectangle is cut: its mean width is 7/8 of the full one.
    assert abs(hole.mean() - (0.5 * 7 / 8) ** 2) < 0.005
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert rows.max() == 8 and columns.max() == 4
    np.testing.assert_array_equal(rows * columns, hole.sum((1, 2)))
