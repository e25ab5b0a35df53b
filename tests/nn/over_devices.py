"""What tests of values over devices share: one function, spread in each of the ways there are."""

import functools

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax.devices import mean_over_devices
from genjax.typing import DATA_AXIS


def by_all_devices(step, variables, batch):
    """The results of ``step(variables, batch, over_devices)`` with a batch that is spread over eight devices.

    A step returns rows, new statistics, and the gradient of ``over_devices(loss)``. The loss is averaged over devices
    under shard_map; under pmap the gradient is, afterwards, as `genjax.methods.update` does.
    """
    mesh = jax.make_mesh((8,), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    spread = jax.device_put(batch, NamedSharding(mesh, P(DATA_AXIS)))
    yield "jit", jax.jit(functools.partial(step, over_devices=lambda x: x))(variables, spread)

    inside = functools.partial(step, over_devices=mean_over_devices)
    mapped = jax.shard_map(
        inside, mesh=mesh, in_specs=(P(), P(DATA_AXIS)), out_specs=(P(DATA_AXIS), P(), P())
    )
    yield "shard_map", jax.jit(mapped)(variables, spread)

    def local(variables, batch):
        rows, new, grads = step(variables, batch, over_devices=lambda x: x)
        return rows, new, mean_over_devices(grads)

    parts = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
    rows, *rest = jax.pmap(local, axis_name=DATA_AXIS, in_axes=(None, 0))(variables, parts)
    for leaf in jax.tree.leaves(rest):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
    yield "pmap", (rows, *jax.tree.map(lambda x: x[0], rest))
