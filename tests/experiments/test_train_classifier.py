"""Training of the digits classifier: augmentation, that it learns, that the extractor reads its file."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import train_classifier
from experiments.train_classifier import Config, accuracy, augment, main, train
from genjax.data import load
from genjax.metrics.digits_classifier import load_digits_classifier


@pytest.fixture
def small_digits_for_mnist(monkeypatch):
    """The bundled digits, enlarged, in the place of MNIST, which is not here."""

    def fake(name, split, data_dir=None):
        return load("digits", split, image_size=28 if name == "mnist" else None)

    monkeypatch.setattr(train_classifier, "load", fake)


def centre_of_mass(image):
    ink = np.asarray(image[..., 0] + 1.0)
    rows, columns = np.indices(ink.shape)
    return np.array([(ink * rows).sum(), (ink * columns).sum()]) / ink.sum()


def test_augmentation_without_amounts_is_the_identity(monkeypatch):
    for name, value in {"MAX_DEGREES": 0.0, "MAX_SCALE": 1.0, "MAX_SHIFT": 0.0}.items():
        monkeypatch.setattr(train_classifier, name, value)
    image = jax.random.uniform(jax.random.key(1), (28, 28, 1), minval=-1.0)
    np.testing.assert_allclose(augment(jax.random.key(0), image), image, atol=1e-6)


def test_augmentation_moves_within_its_limits():
    # A disc in the middle: turning leaves it, scaling changes its ink by up to 1.15^2, shifting its centre.
    rows, columns = np.indices((28, 28)) - 13.5
    disc = jnp.asarray(np.where(rows**2 + columns**2 < 36, 1.0, -1.0), jnp.float32)[..., None]
    images = jax.vmap(augment, in_axes=(0, None))(jax.random.split(jax.random.key(0), 200), disc)
    shifts = np.stack([centre_of_mass(image) for image in images]) - 13.5
    # The shift is scaled and turned with the image: 2 pixels on both axes are 2.73 on one.
    assert 2.0 < np.abs(shifts).max() < 2.0 * 1.15 * (np.cos(np.deg2rad(12)) + np.sin(np.deg2rad(12)))
    np.testing.assert_allclose(shifts.mean(axis=0), 0.0, atol=4 * shifts.std() / np.sqrt(200))
    growth = np.sqrt(np.asarray((images + 1).sum(axis=(1, 2, 3)) / (disc + 1).sum()))
    assert 1.10 < growth.max() < 1.16 and 0.86 < growth.min() < 0.90


def test_learns_digits():
    source = train_classifier.ArraySource(
        *load("digits", "train", image_size=28).read(np.arange(1442)).values()
    )
    params = train(Config(out=None, num_steps=60, batch_size=32), source)
    assert accuracy(params, load("digits", "test")) > 0.8


def test_command_writes_what_the_extractor_reads(tmp_path, capsys, small_digits_for_mnist):
    out = tmp_path / "weights.safetensors"
    main(Config(out=out, num_steps=2, batch_size=8, robust_images=0))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    printed = capsys.readouterr().out
    assert f"sha256 {digest}" in printed
    assert "mnist test accuracy: 0." in printed and "digits test accuracy: 0." in printed
    assert load_digits_classifier(out, sha256=digest).sha256 == digest
    # The same seed, the same bytes.
    main(Config(out=out, num_steps=2, batch_size=8, robust_images=0))
    assert hashlib.sha256(out.read_bytes()).hexdigest() == digest


def small_batch():
    source = load("digits", "train", image_size=28)
    return train_classifier.train_batch(source, 0, batch_size=16, seed=0)


def test_attack_is_in_the_step():
    """The loss of the update is that of attacked images, and the parameters that come of it are others."""
    batch, key = small_batch(), jax.random.key(0)
    optimizer = train_classifier.optax.sgd(0.1)
    losses, params = {}, {}
    for name in ("none", "fgsm", "pgd"):
        start = train_classifier.init_params(jax.random.key(1))
        attack = train_classifier.ATTACKS[name](Config(out=None, attack=name, attack_steps=3))
        step = train_classifier.make_step(optimizer, attack)
        params[name], _, loss = step(key, start, optimizer.init(start), batch)
        losses[name] = float(loss)
    assert losses["fgsm"] > losses["none"] + 0.3 and losses["pgd"] > losses["none"] + 0.3
    weights = {name: np.asarray(value["logits"]["kernel"]) for name, value in params.items()}
    assert not np.allclose(weights["none"], weights["pgd"], atol=1e-4)


def test_robust_accuracy_is_of_the_first_images():
    params = train_classifier.init_params(jax.random.key(1))
    source = load("digits", "test", image_size=28)
    first = train_classifier.ArraySource(*source.read(np.arange(40)).values())
    clean = train_classifier.robust_accuracy(params, source, train_classifier.no_attack, 40)
    assert clean == accuracy(params, first)
    assert train_classifier.robust_accuracy(params, source, train_classifier.pgd_of(2.0, 3), 40) <= clean


def test_command_tells_robust_accuracies(tmp_path, capsys, small_digits_for_mnist):
    main(
        Config(out=tmp_path / "w", num_steps=2, batch_size=8, attack="pgd", attack_steps=1, robust_steps=(2,))
    )
    assert "mnist robust accuracy: 0." in (printed := capsys.readouterr().out)
    assert "of 355 under PGD-2, epsilon 0.2" in printed
    with pytest.raises(train_classifier.UserError, match="robust_steps"):
        main(Config(out=tmp_path / "w", robust_steps=(0,)))
