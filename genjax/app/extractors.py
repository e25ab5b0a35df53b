"""Which network measures: by name, from the command line."""

import dataclasses
from typing import Any, Literal, NamedTuple

from genjax.app import collapse_scores
from genjax.app.config import Config
from genjax.metrics import efficientnet_lite, load_digits_classifier
from genjax.metrics.efficientnet_lite import load_efficientnet_lite
from genjax.metrics.extractor import Extractor
from genjax.metrics.inception import URL, load_inception
from genjax.typing import UserError

Name = Literal["digits", "inception", "efficientnet-lite0"]


@dataclasses.dataclass(frozen=True)
class ExtractorOptions:
    """The network whose features the metrics compare.

    Attributes:
        extractor: The feature network. "inception" is the network of the FID. "efficientnet-lite0" needs no file (pip
            install -e '.[efficientnet]'). "digits" knows handwritten digits only. Without it: for a run the network
            that training scores with, for folders "inception".
        weights: File of the weights. Only Inception needs it: its weights are not part of the package.
        resize: How images are resized for Inception: as in clean-fid, or as in the first FID and torch-fidelity.
        any_weights: Accept a file of weights whose SHA-256 differs from the published file's. Scores with such weights
            cannot be compared with published scores.
        extractor_batch: Number of images that go through the network at a time. Inception takes 18 MB for each.
    """

    extractor: Name | None = None
    weights: str | None = None
    resize: Literal["clean", "legacy-tf"] = "clean"
    any_weights: bool = False
    extractor_batch: int = 50


def changed(options: ExtractorOptions) -> dict[str, Any]:
    """The options that are not as they are by default."""
    usual = dataclasses.asdict(ExtractorOptions())
    return {name: value for name, value in dataclasses.asdict(options).items() if value != usual[name]}


def scores_of(config: Config) -> Name | None:
    """The network that scores the images of a run where nothing else is asked for; None: none does."""
    asked = config.evaluation.extractor
    if asked is not None:
        return None if asked == "none" else asked
    if collapse_scores.is_known(config.data.dataset):
        return "digits"
    return "efficientnet-lite0" if efficientnet_lite.is_installed() else None


def of_run(config: Config) -> Extractor | None:
    """The extractor that `scores_of` names; None for none, and for the bundled classifier of digits where it knows what
    the images show: `genjax.app.image_scores` has it.

    Raises:
        UserError: its weights are missing.
    """
    name = scores_of(config)
    if name is None or (name == "digits" and collapse_scores.is_known(config.data.dataset)):
        return None
    return load(ExtractorOptions(extractor=name)).extractor


class Chosen(NamedTuple):
    """An extractor, and the number of channels of the images that it takes."""

    extractor: Extractor
    channels: int


def load(options: ExtractorOptions) -> Chosen:
    """The extractor that is asked for; Inception if none is.

    Raises:
        UserError: its weights are missing, or others.
    """
    name = options.extractor or "inception"
    other = {"sha256": None} if options.any_weights else {}
    if name == "inception":
        if options.weights is None:
            raise UserError(
                f"extractor='inception' needs weights=FILE, which is not part of the package: download it from {URL}, "
                "or take extractor='efficientnet-lite0', whose weights a package has"
            )
        return Chosen(load_inception(options.weights, options.resize, **other), 3)
    if name == "efficientnet-lite0":
        return Chosen(load_efficientnet_lite(options.weights, **other), 3)
    return Chosen(load_digits_classifier(options.weights, **other), 1)
