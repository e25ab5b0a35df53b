"""What an experiment is: typed, frozen configs. Every field's description is its `--help`.

A preset is a value of `Config` (see `experiments.presets`). `Launch` says how a run is executed; it is no
part of the experiment and may differ when a run is resumed.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from genjax.app.families.autoencoder import AutoencoderConfig
from genjax.app.families.codes import CodesConfig, VQVAEConfig
from genjax.app.families.cycle_gan import CycleGANConfig
from genjax.app.families.diffusion import DiffusionConfig, UNetConfig
from genjax.app.families.gan import GANConfig
from genjax.app.families.gan_networks import (
    BigGANConfig,
    DCGANConfig,
    MLPGANConfig,
    R3GANConfig,
    ResidualGANConfig,
)
from genjax.app.families.pix2pix import Pix2PixConfig
from genjax.app.families.translation import ResidualTranslatorConfig, TranslationUNetConfig
from genjax.app.families.vae import ConvConfig, DeepConfig, MLPConfig, VAEConfig
from genjax.app.families.vae_gan import VAEGANConfig
from genjax.app.families.vq_gan import VQGANConfig
from genjax.diffusion import SAMPLERS
from genjax.diffusion.grids import GRIDS
from genjax.train.options import FitOptions

if TYPE_CHECKING:
    SamplerName = GridName = str
    ModelConfig: TypeAlias = Any  # each family knows its own
    MethodConfig: TypeAlias = Any
else:  # what is registered is what can be chosen
    SamplerName, GridName = Literal[tuple(SAMPLERS)], Literal[tuple(GRIDS)]
    # A preset chooses the network and the method; the command line changes their fields.
    ModelConfig = UNetConfig | MLPConfig | ConvConfig | DeepConfig | CodesConfig
    ModelConfig |= MLPGANConfig | DCGANConfig | ResidualGANConfig | BigGANConfig | R3GANConfig
    ModelConfig |= TranslationUNetConfig | ResidualTranslatorConfig
    MethodConfig = DiffusionConfig | VAEConfig | VAEGANConfig | AutoencoderConfig | VQVAEConfig | VQGANConfig
    MethodConfig |= GANConfig | Pix2PixConfig | CycleGANConfig

_unprefixed = tyro.conf.arg(prefix_name=False)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images.

    Attributes:
        dataset: "digits" (bundled), "shapes" (drawn), a TFDS name such as "mnist", a folder of images
            ("folder:PATH"), a .npz file, or "stacked:NAME": three grayscale images of NAME as colour channels.
        data_dir: Where TFDS data sets live; None: TFDS's default, ~/tensorflow_datasets.
        train_split: Split to train on.
        test_split: Split to evaluate on.
        source: What images are translated from, for models that do so: another data set, or one made of images,
            such as "edges:mnist" and "inverted:mnist".
        pairing: Whether its images belong to those of the dataset one by one (in folders by the names of the files), or
            not at all.
        image_size: Resize the shorter side to this many pixels and crop the centre; None: as they are.
        channels: 1 or 3 to insist on grayscale or colour; None: as they are.
        on_bad_record: Stop at a record that cannot be read, or skip it and report how many.
        flip: Mirror training images at random.
        crop_padding: Crop training images at random after reflect padding by so many pixels.
        binarize: Make pixels black or white, white with probability level / 255: "static" draws once (seed 0),
            "dynamic" draws training images anew in every step and test images once.
        resident_mb: Data sets of up to so many MiB live on the devices; larger ones are streamed.
    """

    dataset: Annotated[str, _unprefixed] = "digits"
    data_dir: Annotated[str | None, _unprefixed] = None
    train_split: str = "train"
    test_split: str = "test"
    source: str | None = None
    pairing: Literal["paired", "unpaired"] = "paired"
    image_size: int | None = None
    channels: Literal[1, 3] | None = None
    on_bad_record: Literal["error", "skip"] = "error"
    flip: bool = False
    crop_padding: int = 0
    binarize: Literal["no", "static", "dynamic"] = "no"
    resident_mb: int = 1024


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, with decoupled weight decay where that is not 0.

    Attributes:
        name: What makes a direction of the gradients; each has a learning rate of its own that fits.
        learning_rate: Peak value.
        b1: Decay of Adam's average of gradients; the others have none.
        b2: Decay of Adam's average of their squares; the others have none.
        momentum: Of sgd and rmsprop: share of the last direction that is added to the next.
        rms_decay: Decay of rmsprop's average of squared gradients; 0.9 is that of its lecture and of Keras.
        warmup_steps: Updates over which the rate grows linearly from 0.
        decay: What follows: the peak rate, a cosine from it to 0 at the last step, or ("linear") half of the steps at
            the peak rate and half on a straight line to 0, or ("ramp") this line over all of them.
        weight_decay: Decoupled weight decay, as AdamW's: it is no part of the gradients that are averaged.
        clip_norm: Gradients with a larger global norm are scaled down to it; None: never.
        skip_norm: Updates with a larger global norm of the gradient are left out; None: never.
        accumulate: Micro-batches per update; the result is that of the whole batch, in less memory.
    """

    name: Literal["adam", "sgd", "rmsprop", "adagrad"] = "adam"
    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    momentum: float = 0.0
    rms_decay: float = 0.9
    warmup_steps: int = 100
    decay: Literal["constant", "cosine", "linear", "ramp"] = "cosine"
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    skip_norm: float | None = None
    accumulate: int = 1


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How images are made, during training and by default afterwards.

    Attributes:
        sampler: Which sampler.
        grid: How the steps are spread over time.
        num_steps: Steps of the sampler.
        eta: How much noise a sampler that has an eta adds: 0 is deterministic; None: its own default.
        guidance: Classifier-free guidance scale: 1 is the conditional model, larger follows the label more.
        temperature: Of a prior: factor of the standard deviations of a VAE's latent variables; the logits of codes
            are divided by it.
        batch_size: Images made at a time.
    """

    sampler: SamplerName = "ddim"
    grid: GridName = "linspace"
    num_steps: int = 50
    eta: float | None = None
    guidance: float = 1.0
    temperature: float = 1.0
    batch_size: int = 100


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is looked at during training, and scored at its end.

    Attributes:
        loss_every: Steps between evaluations of the loss on the test split; 0: only at the end.
        sample_every: Steps between sample grids; 0: only at the end.
        grid_columns: Samples per class (or per row) in a grid.
        num: Generated images scored at the end; 0: none.
        importance_samples: Draws an image of the importance-weighted likelihood of a VAE at the end; 0: none.
        score_every: Steps between scores of generated digits, rho and the Fréchet distance, and one at the end; 0:
            none but that of `num` images.
        score_num: Generated images of each of these.
    """

    loss_every: int = 1000
    sample_every: int = 1000
    grid_columns: int = 10
    num: int = 1000
    importance_samples: int = 0
    score_every: int = 0
    score_num: int = 1000


@dataclasses.dataclass(frozen=True)
class Config:
    """An experiment: all that determines what is trained."""

    fit: Annotated[FitOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=FitOptions)
    data: DataConfig = DataConfig()
    model: Annotated[ModelConfig, tyro.conf.AvoidSubcommands] = dataclasses.field(default_factory=UNetConfig)
    method: Annotated[MethodConfig, tyro.conf.AvoidSubcommands] = dataclasses.field(
        default_factory=DiffusionConfig
    )
    optimizer: OptimizerConfig = OptimizerConfig()
    sampling: SamplingConfig = SamplingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


@dataclasses.dataclass(frozen=True)
class SamplingOverrides:
    """How images are made, where that is to differ from the config of the run.

    Attributes:
        sampler: Which sampler; None: as in the run's config.
        grid: How the steps are spread over time; None: as in the run's config.
        num_steps: Steps of the sampler; None: as in the run's config.
        eta: How much noise a sampler that has an eta adds: 0 is deterministic; None: as in the run's config.
        guidance: Classifier-free guidance scale, 1 is none; None: as in the run's config.
        temperature: Of a prior over latent variables or codes; None: as in the run's config.
        batch_size: Images made at a time; None: as in the run's config.
    """

    sampler: SamplerName | None = None
    grid: GridName | None = None
    num_steps: int | None = None
    eta: float | None = None
    guidance: float | None = None
    temperature: float | None = None
    batch_size: int | None = None

    def apply(self, config: SamplingConfig) -> SamplingConfig:
        """`config` with the fields that are given here."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if self.sampler not in (None, config.sampler):
            given = {"eta": None, **given}  # the run's eta is meant for its own sampler
        return dataclasses.replace(config, **given)


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a run is executed.

    Attributes:
        workdir: Where everything goes; a run that is already there is resumed.
        override_config: Resume although the config differs from the one the run was started with.
        progress: Show the progress bar also where stderr is no terminal.
        distributed: Run on several processes: call jax.distributed.initialize() first. On TPU pods and under
            SLURM or Open MPI it finds the other processes by itself; elsewhere give the next three.
        coordinator: HOST:PORT of process 0.
        num_processes: How many processes there are.
        process_id: Which one this is.
    """

    workdir: str
    override_config: tyro.conf.FlagCreatePairsOff[bool] = False
    progress: tyro.conf.FlagCreatePairsOff[bool] = False
    distributed: tyro.conf.FlagCreatePairsOff[bool] = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested dataclasses by dotted name."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = dataclasses.is_dataclass(value)
        flat |= flatten(value, f"{prefix}{field.name}.") if nested else {prefix + field.name: value}
    return flat
