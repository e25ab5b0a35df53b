"""Several schedules in one compiled program."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class OneOf:
    """The schedule of this index among those that these constructors make: one compilation serves them all."""

    index: jax.Array
    constructors: tuple = flax.struct.field(pytree_node=False)

    def _choose(self, name, x):
        return jnp.stack([getattr(make(), name)(x) for make in self.constructors])[self.index]

    def log_snr(self, t):
        return self._choose("log_snr", t)

    def time(self, log_snr):
        return self._choose("time", log_snr)

    def alpha(self, t):
        return self._choose("alpha", t)

    def sigma(self, t):
        return self._choose("sigma", t)


def one_of(schedules, name):
    """That of this name in a dictionary of constructors."""
    return OneOf(jnp.asarray(list(schedules).index(name)), tuple(schedules.values()))
