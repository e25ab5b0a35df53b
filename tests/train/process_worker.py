"""One process of a run over several, started by test_processes.py, which also imports it to train in one process.

python process_worker.py WORKDIR FSDP ADDRESS NUM_PROCESSES PROCESS_ID

Its last line is JSON: the records that each read asked for, and the part of the parameters that this process holds.
"""

import functools
import json
import sys

import jax

STEPS, BATCH_SIZE, SEED, NUM_DEVICES = 20, 16, 3, 4


class RecordingSource:
    """The records of another source, and a list of what was read."""

    def __init__(self, source):
        self._source, self.info, self.skipped, self.reads = source, source.info, [], []

    def __len__(self):
        return len(self._source)

    def read(self, indices):
        self.reads.append(indices.tolist())
        return self._source.read(indices)


def train(workdir, fsdp):
    """Trains to the end, on this process's part of a mesh of four devices: `Fitted`, and what was read.

    Everything random in a step is on, and learning is so fast that the losses depend on every step before.
    """
    from genjax.app import build
    from genjax.app.config import Config, DataConfig
    from genjax.methods.diffusion.diffusion import DiffusionConfig
    from genjax.methods.optimizers import OptimizerConfig
    from genjax.models.denoisers.unet import UNetConfig
    from genjax.train import sharding
    from genjax.train.fit import fit
    from genjax.train.options import FitOptions

    config = Config(
        fit=FitOptions(
            steps=STEPS,
            batch_size=BATCH_SIZE,
            seed=SEED,
            log_every=1,
            checkpoint_every=STEPS // 2,
            fsdp=fsdp,
            fsdp_min_size=64,
        ),
        data=DataConfig(dataset="digits", flip=True, crop_padding=1, resident_mb=0),  # 0: streamed
        model=UNetConfig(channels=8, multipliers=(1,), blocks=1, dropout=0.3),
        method=DiffusionConfig(condition_dropout=0.3),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5),
    )
    source = RecordingSource(build.source(config.data, "train"))
    fitted = fit(
        build.method(config, source.info),
        build.training_feed(config, source, jax.process_index(), jax.process_count()),
        config.fit,
        workdir=workdir,
        example=build.example(source.info),
        preprocess=functools.partial(build.augment, config.data),
        mesh=sharding.make_mesh(fsdp, NUM_DEVICES),
    )
    return fitted, source.reads


def part_held(params):
    """Bytes of the parameters on this process, each counted once, as a part of all."""
    leaves = jax.tree.leaves(params)
    held = 0
    for x in leaves:
        held += sum({str(shard.index): shard.data.nbytes for shard in x.addressable_shards}.values())
    return held / sum(x.nbytes for x in leaves)


def main():
    workdir, fsdp, address, num_processes, process_id = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", NUM_DEVICES // int(num_processes))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.distributed.initialize(address, int(num_processes), int(process_id))
    fitted, reads = train(workdir, int(fsdp))
    print(json.dumps({"reads": reads, "part_held": part_held(fitted.state.params)}))


if __name__ == "__main__":
    main()
