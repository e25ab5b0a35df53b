"""A pool of images made earlier, so that a discriminator does not forget what it has learned of them."""

import flax.struct
import jax
import jax.numpy as jnp

from genjax.devices import gather_over_devices, own_rows
from genjax.random import example_keys
from genjax.typing import Array, Key


@flax.struct.dataclass
class ImagePool:
    """The pool.

    Attributes:
        images: float32[P,H,W,C].
        count: int32[], number of entries that are images; the others are still blank.
    """

    images: Array
    count: Array


def empty(size: int, image_shape: tuple[int, int, int]) -> ImagePool:
    """A pool of `size` images, none of which is there yet; with ``size=0`` it never has one."""
    return ImagePool(jnp.zeros((size, *image_shape)), jnp.zeros((), jnp.int32))


def exchange(key: Key, pool: ImagePool, images: Array, index: Array) -> tuple[Array, ImagePool]:
    """Gives each image to the pool, or not, and takes one back.

    Images come one after the other, in the order of the global batch. While the pool has room, an image is put into it,
    and is what comes back. Later, with probability one half, an image takes the place of one drawn from the pool, which
    comes back; otherwise it comes back itself and the pool stays as it is.

    Args:
        key: key of the step.
        pool: earlier images; the same on every device.
        images: float[B,H,W,C].
        index: int32[B], positions in the global batch: the draws of an image derive from its own.

    Returns:
        float[B,H,W,C], what comes back, and the new pool.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.methods.gan import image_pool
        >>> images = jnp.arange(3.0).reshape(3, 1, 1, 1)
        >>> back, pool = jax.jit(image_pool.exchange)(
        ...     jax.random.key(0), image_pool.empty(4, (1, 1, 1)), images, jnp.arange(3)
        ... )
        >>> back.ravel().tolist(), int(pool.count)  # there was room for all of them
        ([0.0, 1.0, 2.0], 3)

    References:
        Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training" (2017),
        section 2.3; with these probabilities Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent
        Adversarial Networks" (2017), section 4, implementation.
    """
    size = len(pool.images)
    if not size:
        return images, pool
    everything = gather_over_devices(images)
    keys = example_keys(key, gather_over_devices(index))
    swaps = jax.vmap(jax.random.bernoulli)(keys)
    places = jax.vmap(lambda k: jax.random.randint(jax.random.fold_in(k, 1), (), 0, size))(keys)

    def give(
        carry: tuple[Array, Array], draw: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        """Of numbers of candidates, the old pool and then the batch, so that the loop moves no image."""
        slots, count = carry
        new, swap, place = draw
        full = count == size
        place = jnp.where(full, place, count)
        back = jnp.where(full & swap, slots[place], new)
        slots = slots.at[place].set(jnp.where(full & ~swap, slots[place], new))
        return (slots, jnp.minimum(count + 1, size)), back

    candidates = jnp.concatenate([pool.images, everything])
    numbers = jnp.arange(len(candidates), dtype=jnp.int32)
    carry, back = jax.lax.scan(
        give, (numbers[:size], pool.count), (numbers[size:], swaps, places.astype(jnp.int32))
    )
    slots, count = carry
    return own_rows(candidates[back]), ImagePool(candidates[slots], count)
