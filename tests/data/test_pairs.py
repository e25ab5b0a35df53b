"""Images of two domains: who is paired with whom, in what order, and that both are treated alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genjax import data
from genjax.data.derived import edges
from genjax.train import feed
from genjax.typing import UserError


def numbered(n, start=0, channels=1):
    """n images of 2x2 pixels, each of which shows its number."""
    levels = np.arange(start, start + n, dtype=np.uint8)[:, None, None, None]
    return data.ArraySource(
        np.broadcast_to(levels, (n, 2, 2, channels)), np.arange(n) % 3, name=f"from {start}"
    )


def numbers(records, name):
    values = records[name].reshape(len(records[name]), -1)
    assert (values == values[:, :1]).all()
    return values[:, 0]


def test_edges_lie_where_levels_jump():
    image = np.zeros((1, 4, 6, 1), np.uint8)
    image[:, :, 3:] = 128
    expected = np.zeros((1, 4, 6, 1), np.uint8)
    expected[:, :, 2:4] = 255
    np.testing.assert_array_equal(edges(image), expected)
    assert not edges(np.minimum(image, 127)).any()
    corner = np.zeros((1, 3, 3, 3), np.uint8)
    corner[0, 0, 0, 1] = 200  # one channel is enough
    found = edges(corner)
    assert found.shape == (1, 3, 3, 1)
    np.testing.assert_array_equal(found[0, :, :, 0], [[255, 255, 0], [255, 255, 0], [0, 0, 0]])


def test_derived_data_sets_have_names():
    plain, negative, lines = (data.load(f"{prefix}digits", "test") for prefix in ("", "inverted:", "edges:"))
    some = np.array([3, 0, 3])
    for name, source in {"inverted:digits": negative, "edges:digits": lines}.items():
        assert source.info.name == name and source.info.num_classes == 10 and len(source) == len(plain)
        np.testing.assert_array_equal(source.read(some)["label"], plain.read(some)["label"])
    np.testing.assert_array_equal(
        negative.read(some)["image"].astype(int), 255 - plain.read(some)["image"].astype(int)
    )
    np.testing.assert_array_equal(lines.read(some)["image"], edges(plain.read(some)["image"]))
    twice = data.load("inverted:inverted:digits", "test")
    np.testing.assert_array_equal(twice.read(some)["image"], plain.read(some)["image"])


def test_pairs_by_index():
    pair = data.Paired(numbered(5), numbered(5, 100, channels=3))
    records = pair.read(np.array([4, 1]))
    np.testing.assert_array_equal(numbers(records, "image"), [4, 1])
    np.testing.assert_array_equal(numbers(records, "source"), [104, 101])
    np.testing.assert_array_equal(records["label"], [1, 1])
    assert pair.info.image_shape == (2, 2, 1) and pair.info.shape_of("source") == (2, 2, 3)
    assert data.nbytes(pair) == sum(x.nbytes for x in data.to_memory(pair).values()) == 5 * (4 + 12 + 4)
    with pytest.raises(UserError, match=r"'from 0' has 5 images .* 'from 9' has 4 "):
        data.Paired(numbered(5), numbered(4, 9))


def write(folder, levels):
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), level, np.uint8)).save(path)
    return data.ImageFolder(folder)


def test_folders_are_paired_by_names(tmp_path):
    """And not by their order, which depends on the suffix."""
    photos = write(tmp_path / "photos", {"x.png": 1, "x.m.png": 2, "y.png": 3})
    maps = write(tmp_path / "maps", {"x.bmp": 101, "x.m.bmp": 102, "y.png": 103})
    assert photos.names == ("x.m", "x", "y") and maps.names == ("x", "x.m", "y")
    pair = data.Paired(photos, maps)
    in_memory = pair.map(lambda part: data.ArraySource.from_records(data.to_memory(part), part.info))
    for source in (pair, in_memory):
        records = source.read(np.array([2, 0, 1]))
        np.testing.assert_array_equal(numbers(records, "image"), [3, 2, 1])
        np.testing.assert_array_equal(numbers(records, "source"), [103, 102, 101])


def test_unequal_folders_name_the_first_file_without_a_partner(tmp_path):
    photos = write(tmp_path / "photos", {f"{i}.png": i for i in (1, 2, 4, 5)})
    maps = write(tmp_path / "maps", {f"{i}.bmp": i for i in (1, 2, 3, 5)})
    with pytest.raises(UserError, match=r"'3' is in '.*maps' and not in '.*photos'.*2 such files"):
        data.Paired(photos, maps)
    with pytest.raises(UserError, match=r"'2' is in '.*photos' and not in '.*less'"):
        data.Paired(photos, write(tmp_path / "less", {"1.png": 0, "4.png": 0, "5.png": 0}))


def test_unpaired_records_have_a_fixed_partner():
    pair = data.Unpaired(numbered(7), numbered(3, 100))
    whole = pair.read(np.arange(7))
    np.testing.assert_array_equal(numbers(whole, "image"), np.arange(7))
    partners = numbers(whole, "source")
    assert set(partners[:3]) == set(partners[3:6]) == {100, 101, 102}
    np.testing.assert_array_equal(numbers(pair.read(np.array([5, 2])), "source"), partners[[5, 2]])
    many = data.Unpaired(numbered(100), numbered(100, 100))
    assert (numbers(many.read(np.arange(100)), "source") - 100 != np.arange(100)).mean() > 0.9
    other = data.Unpaired(numbered(100), numbered(100, 100), seed=1)
    assert (
        numbers(many.read(np.arange(100)), "source") != numbers(other.read(np.arange(100)), "source")
    ).any()


def test_unpaired_training_goes_through_both_domains_afresh_each_epoch():
    pair = data.Unpaired(numbered(60), numbered(60, 100))
    batch = functools.partial(data.unpaired_batch, pair, batch_size=20, seed=3)
    epochs = [[batch(3 * epoch + i) for i in range(3)] for epoch in range(3)]
    partner = []
    for epoch in epochs:
        images, sources = (np.concatenate([numbers(b, name) for b in epoch]) for name in ("image", "source"))
        assert set(images) == set(range(60)) and set(sources) == set(range(100, 160))
        partner.append(sources[np.argsort(images)] - 100)
    for i in range(3):
        # Of two orders that know nothing of each other one place in 60 agrees.
        assert (partner[i] == np.arange(60)).mean() < 0.2
        assert (partner[i] == partner[i - 1]).mean() < 0.2
    jax.tree.map(np.testing.assert_array_equal, batch(4), epochs[1][1])
    other = data.unpaired_batch(pair, 4, batch_size=20, seed=4)
    assert (other["source"] != epochs[1][1]["source"]).any()


def test_unpaired_sizes_may_differ_and_shares_make_the_whole():
    pair = data.Unpaired(numbered(10), numbered(4, 100))
    batches = [data.unpaired_batch(pair, i, batch_size=10, seed=0) for i in range(4)]
    for b in batches:
        assert set(numbers(b, "image")) == set(range(10))
    sources = np.concatenate([numbers(b, "source") for b in batches])
    for i in range(10):
        assert set(sources[4 * i : 4 * i + 4]) == {100, 101, 102, 103}
    parts = [
        data.unpaired_batch(pair, 2, batch_size=10, seed=0, process_index=i, process_count=2)
        for i in range(2)
    ]
    for name, whole in batches[2].items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole)


@pytest.mark.parametrize("resident", [(True, True), (True, False), (False, False)])
def test_feeds_beside_each_other_give_the_batches(resident):
    pair = data.Unpaired(numbered(10), numbered(4, 100))

    def of(part, seed, on_device):
        options = {"batch_size": 6, "seed": seed}
        if on_device:
            indices = functools.partial(data.train_indices, num_examples=len(part), **options)
            return feed.resident(data.to_memory(part), indices)
        read = functools.partial(data.train_batch, part, **options)
        return feed.streamed(lambda start: data.Prefetcher(read, start))

    feeds = [of(*part, on_device) for part, on_device in zip(pair.parts(5), resident, strict=True)]
    both = feed.beside(*feeds, {"image": "source"})
    with both.items(3) as items:
        for step in (3, 4):
            found = both.batch(both.arrays, next(items))
            expected = data.unpaired_batch(pair, step, batch_size=6, seed=5)
            assert found.keys() == expected.keys()
            jax.tree.map(np.testing.assert_array_equal, dict(found), expected)


def test_both_images_are_augmented_alike():
    image = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 1), np.uint8)
    source = np.repeat(255 - image, 3, axis=-1)
    batch = {"image": image, "source": source, "_index": np.arange(16, dtype=np.int32)}
    made = data.preprocess(jax.random.key(0), batch, flip=True, crop_padding=2)
    assert made["source"].shape == (16, 6, 6, 3) and made["source"].dtype == jnp.float32
    np.testing.assert_array_equal(made["source"], np.repeat(-made["image"], 3, axis=-1))
    alone = data.preprocess(
        jax.random.key(0), {k: batch[k] for k in ("image", "_index")}, flip=True, crop_padding=2
    )
    np.testing.assert_array_equal(made["image"], alone["image"])
    assert (made["image"] != data.to_float(jnp.asarray(image))).any()
    small = {**batch, "source": source[:, :4, :4]}
    assert data.preprocess(jax.random.key(0), small, flip=True)["source"].shape == (16, 4, 4, 3)
    with pytest.raises(UserError, match=r"crop_padding=2: valid is 0 .*\(6, 6\).*\(4, 4\)"):
        data.preprocess(jax.random.key(0), small, crop_padding=2)
