"""Layouts on the mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from genjax.train import sharding
from genjax.typing import UserError


def test_mesh_shapes():
    assert dict(sharding.make_mesh().shape) == {"data": 8, "fsdp": 1}
    assert dict(sharding.make_mesh(4).shape) == {"data": 2, "fsdp": 4}
    assert sharding.make_mesh(num_devices=1).size == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fsdp": 3}, r"fsdp=3 does not divide the number of devices, 8; valid are \[1, 2, 4, 8\]"),
        ({"fsdp": 0}, "fsdp=0"),
        ({"num_devices": 9}, "num_devices=9: there are 8 devices"),
    ],
)
def test_bad_mesh(options, message):
    with pytest.raises(UserError, match=message):
        sharding.make_mesh(**options)


def test_large_arrays_are_split_along_their_longest_divisible_axis():
    mesh = sharding.make_mesh(4)
    state = {
        "kernel": jax.ShapeDtypeStruct((3, 3, 64, 128), jnp.float32),
        "odd": jax.ShapeDtypeStruct((9999, 7, 8), jnp.float32),
        "prime": jax.ShapeDtypeStruct((99991,), jnp.float32),
        "small": jax.ShapeDtypeStruct((128,), jnp.float32),
        "step": jax.ShapeDtypeStruct((), jnp.int32),
    }
    specs = {name: s.spec for name, s in sharding.state_sharding(state, mesh, min_size=1000).items()}
    assert specs == {
        "kernel": P(None, None, None, "fsdp"),
        "odd": P(None, None, "fsdp"),
        "prime": P(),
        "small": P(),
        "step": P(),
    }
    one = sharding.state_sharding(state, sharding.make_mesh(1), min_size=1)
    assert {s.spec for s in one.values()} == {P()}


def test_place_makes_new_buffers_with_the_same_values():
    mesh = sharding.make_mesh(8)
    x, key = jnp.arange(16.0), jax.random.key(3)
    placed = sharding.place(
        {"x": x, "key": key}, {"x": sharding.state_sharding(x, mesh, 1), "key": sharding.replicated(mesh)}
    )
    np.testing.assert_array_equal(placed["x"], x)
    assert [s.data.shape for s in placed["x"].addressable_shards] == [(2,)] * 8
    np.testing.assert_array_equal(jax.random.normal(placed["key"], (3,)), jax.random.normal(key, (3,)))
    jax.jit(lambda t: t["x"] * 2, donate_argnums=0)({"x": placed["x"]})
    np.testing.assert_array_equal(x, np.arange(16.0))  # the original survives a donation of the copy


def test_place_batch_spreads_rows_in_order():
    mesh = sharding.make_mesh(2)
    batch = sharding.place_batch({"image": np.arange(16).reshape(16, 1)}, mesh)
    rows = {s.device.id: np.asarray(s.data).ravel().tolist() for s in batch["image"].addressable_shards}
    assert rows == {i: [2 * i, 2 * i + 1] for i in range(8)}


def test_batch_size_must_divide():
    with pytest.raises(
        UserError, match="batch_size=12 must be a positive multiple of the number of devices, 8"
    ):
        sharding.check_batch_size(12, sharding.make_mesh())
