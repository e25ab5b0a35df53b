"""Make images: ``python -m experiments.sample --workdir DIR --num 64 --out samples.png`` (or ``.npz``, or ``FOLDER/``).

Image i of a seed is the same whether it is made alone, in a batch of 64 or on 8 devices.
"""

import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import tyro
from etils import epath

from experiments import cli, image_folders, latent_pictures
from genjax.app import kinds, pictures, restore, run_data, scoring, translation, workdir
from genjax.app.config import SamplingOverrides
from genjax.app.labels import class_numbers
from genjax.data import Field, Source
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Sample:
    """Make images with a trained model.

    Attributes:
        workdir: The folder of the run.
        num: Number of images.
        seed: Seed of the images.
        first: Number of the first image. ``--first 37 --num 1`` makes only image 37 of the seed.
        labels: Classes of the images, in turn, by number or by name. Without it: all classes in turn.
        show: What the picture shows. Models with an encoder can also show "reconstructions" of NUM test
            images, "traversals" of NUM components of the code, and NUM "interpolations" between test images.
        domain: For translation models: the domain of the test images to translate, "source" or, for models that
            translate both ways, "image". The picture has rows of given images. Below each given image are its
            translation and, for pairs, the true image.
        columns: Number of images in each row of such a picture.
        dataset: The data set of the training, where it lies now, such as folder:PATH, for the test images. Without it:
            where it was during training. It is an error if it is not the same data.
        source: For translation models: the same for the images to translate.
        data_dir: Folder of TFDS data sets, for the test images. Without it: the folder of the training.
        step: Step of the checkpoint. Without it: the latest checkpoint.
        out: What to write: a picture (.png) with one row for each class (up to 20 classes); a .npz file with the arrays
            "images" (uint8), "labels" and "class_names", or "given"; or a folder of single files, CLASS/NUMBER.png, if
            the name ends with "/". The folder must be empty or missing. `python -m experiments.evaluate --images` reads
            the .npz file and the folder.
    """

    workdir: str
    num: int = 64
    seed: int = 0
    first: int = 0
    labels: tuple[str, ...] | None = None
    show: Literal["samples", "reconstructions", "traversals", "interpolations"] = "samples"
    domain: Literal["source", "image"] = "source"
    columns: int = 10
    dataset: str | None = None
    source: str | None = None
    data_dir: str | None = None
    step: int | None = None
    out: str = "samples.png"
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=SamplingOverrides
    )


def main() -> None:
    """Reads the command line and makes images."""
    sample(tyro.cli(Sample, prog="python -m experiments.sample"))


def sample(options: Sample) -> None:
    """Makes the images and writes them to ``options.out``."""
    _check(options)
    run = restore.restore(_directory(options), options.sampling, step=options.step)
    if options.show != "samples":
        write(options, pictures.encode(_look(options, run)), f"picture of {options.show}")
        return
    if not run.context.conditions and options.sampling.guidance not in (None, 1.0):
        raise UserError(f"guidance={options.sampling.guidance}: the model is unconditional, valid is 1")
    labels = asked_labels(options, run.context.conditions.get("label"))
    if kinds.method(run.config).translates or options.domain != "source":
        content = _translate(options, run)
    else:
        images = scoring.make(
            run,
            labels=labels,
            num=options.num,
            seed=options.seed,
            first=options.first,
            given=_told(options, run),
        )
        field = run.context.conditions.get("label")
        content = _encoded(options, images, labels, () if field is None else field.names)
    write(options, content, f"{options.num} images of step {run.step}")


def _encoded(
    options: Sample, images: np.ndarray, labels: np.ndarray | None, names: Sequence[str]
) -> bytes | Mapping[str, bytes]:
    """The content of the file, or of each file of the folder."""
    if image_folders.is_folder(options.out):
        return image_folders.files(images, labels, names, options.first)
    if _suffix(options) == ".npz":
        return _as_arrays(images, labels, names)
    return _as_picture(images, labels, names)


def _told(options: Sample, run: restore.Run) -> dict[str, np.ndarray]:
    """The conditions other than the class, from test records. The data is read only if there are any."""
    if not set(run.context.conditions) - {"label"}:
        return {}
    test = _test_images(options, run)
    return translation.given(run.config, test, range(options.first, options.first + options.num))


def _test_images(options: Sample, run: restore.Run) -> Source:
    places = run_data.Places(options.dataset, options.source, options.data_dir)
    return run_data.sources(_directory(options), run.config.data, places, roles=("test",))[0]


def _translate(options: Sample, run: restore.Run) -> bytes | Mapping[str, bytes]:
    test = _test_images(options, run)
    numbers = range(options.first, options.first + options.num)
    given = translation.given(run.config, test, numbers, options.domain)
    images = scoring.make(
        run, labels=None, num=options.num, seed=options.seed, first=options.first, given=given
    )
    real = translation.records(test, numbers)
    if image_folders.is_folder(options.out):
        return image_folders.files(images, None, (), options.first)
    if _suffix(options) == ".npz":
        content = io.BytesIO()
        np.savez(content, images=images, given=real[options.domain])
        return content.getvalue()
    columns = min(options.columns, options.num)
    return pictures.encode(translation.picture(run.config, real, options.domain, images, columns))


def write(options: Sample, content: bytes | Mapping[str, bytes], what: str) -> None:
    """Writes the file, or the files of the folder, and says so, from the first process."""
    if cli.is_first_process():
        if isinstance(content, bytes):
            workdir.write_bytes(_out(options), content)
        else:
            image_folders.write(_out(options), content)
        print(f"{what} written to {options.out}")


def _directory(options: Sample) -> epath.Path:
    return epath.Path(options.workdir).expanduser()


def _out(options: Sample) -> epath.Path:
    return epath.Path(options.out).expanduser()


def _suffix(options: Sample) -> str:
    return pathlib.PurePath(options.out).suffix


def _look(options: Sample, run: restore.Run) -> np.ndarray:
    test = _test_images(options, run)
    if options.show == "reconstructions":
        return latent_pictures.reconstructions(run, test, options.num, options.seed, options.columns)
    look = {"traversals": latent_pictures.traversals, "interpolations": latent_pictures.interpolations}[
        options.show
    ]
    return look(run, test, options.num, options.columns)


def _check(options: Sample) -> None:
    """Raises UserError for what would otherwise be noticed when the images are made."""
    last = 2**31 - 1
    if options.num < 1 or options.first < 0 or options.first + options.num - 1 > last:
        raise UserError(f"num={options.num}, first={options.first}: images are numbered from 0 to {last}")
    cli.check_seed(options.seed)
    if options.columns < 2:
        raise UserError(f"columns={options.columns}: valid are 2 and more")
    if options.show != "samples" and (_suffix(options) != ".png" or options.labels or options.first):
        raise UserError(
            f"show={options.show!r} makes a picture (.png) of test images: out, first and labels do not go with it"
        )
    out = _out(options)
    if image_folders.is_folder(options.out):
        image_folders.check(out)
        return
    if _suffix(options) not in (".png", ".npz"):
        raise UserError(
            f"out={options.out!r}: the suffix must be .png or .npz; the name of a folder of single images ends with '/'"
        )
    if not out.parent.is_dir():
        raise UserError(f"out={options.out!r}: there is no folder {str(out.parent)!r}")
    if out.is_dir():
        raise UserError(f"out={options.out!r} is a folder")


def _as_arrays(images: np.ndarray, labels: np.ndarray | None, names: Sequence[str]) -> bytes:
    content = io.BytesIO()
    arrays = {"images": images} | ({} if labels is None else {"labels": labels})
    arrays |= {} if labels is None or not names else {"class_names": np.array(names)}
    np.savez(content, **arrays)  # type: ignore[arg-type]  # of the stub's own keyword
    return content.getvalue()


def _as_picture(images: np.ndarray, labels: np.ndarray | None, names: Sequence[str]) -> bytes:
    classes = 1 if labels is None else len(np.unique(labels))
    columns = pictures.columns(len(images), classes)
    return pictures.encode(pictures.by_class(images, labels, columns, names))


def asked_labels(options: Sample, field: Field | None) -> np.ndarray | None:
    """The label of each image: a function of its number alone."""
    if field is None:
        if options.labels is not None:
            raise UserError(f"labels={','.join(options.labels)}: the model is unconditional")
        return None
    asked = class_numbers(options.labels or range(field.num_classes or 0), field, "labels")
    return asked[np.arange(options.first, options.first + options.num) % len(asked)]


if __name__ == "__main__":
    cli.run(main)
