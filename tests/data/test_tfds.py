"""Data sets of TFDS, from a small one in its on-disk format that is written here, and without TensorFlow."""

import importlib.util
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from genjax.data import BadRecordError, Source, load_tfds, to_memory
from genjax.typing import UserError

N = 40
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 6, 5, 1), np.uint8)
LABELS = np.arange(N) % 3


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def write_dataset(root, files, labels, shape=(6, 5, 1), splits=None, name="tiny_digits", features=None):
    """A data set as TFDS's array_record writer leaves it on disk."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    features = features or tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=["zero", "one", "two"]),
        }
    )
    features.save_metadata(folder, feature_name=None)
    (folder / "features.json").write_text(json.dumps(features.to_json()))
    splits = splits or {"train": (0, len(files))}
    for split, (start, stop) in splits.items():
        writer = ArrayRecordWriter(
            str(folder / f"{name}-{split}.array_record-00000-of-00001"), "group_size:1"
        )
        for file, label in zip(files[start:stop], labels[start:stop], strict=True):
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(file)
            example.features.feature["label"].int64_list.value.append(int(label))
            writer.write(example.SerializeToString())
        writer.close()
    info = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": [
            {
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(stop - start)],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split, (start, stop) in splits.items()
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return root


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    files = [png(image) for image in IMAGES]
    return write_dataset(
        tmp_path_factory.mktemp("tfds"), files, LABELS, splits={"train": (0, 30), "test": (30, N)}
    )


def test_records_are_those_written(data_dir):
    source = load_tfds("tiny_digits", "train", data_dir=data_dir)
    assert isinstance(source, Source) and len(source) == 30
    assert source.info.image_shape == (6, 5, 1) and source.info.num_classes == 3
    assert source.info.class_names == ("zero", "one", "two")
    records = source.read(np.array([29, 0, 29]))
    np.testing.assert_array_equal(records["image"], IMAGES[[29, 0, 29]])
    np.testing.assert_array_equal(records["label"], LABELS[[29, 0, 29]].astype(np.int32))
    assert records["image"].dtype == np.uint8 and records["label"].dtype == np.int32
    np.testing.assert_array_equal(to_memory(source)["image"], IMAGES[:30])
    test = load_tfds("tiny_digits", "test", data_dir=str(data_dir))
    np.testing.assert_array_equal(to_memory(test)["image"], IMAGES[30:])
    assert source.read(np.array([], np.int64))["image"].shape == (0, 6, 5, 1)
    assert "tensorflow" not in sys.modules


def test_slices_of_splits(data_dir):
    source = load_tfds("tiny_digits", "train[10:15]", data_dir=data_dir)
    np.testing.assert_array_equal(to_memory(source)["image"], IMAGES[10:15])


def test_resized(data_dir):
    from genjax.data.images import resize_array

    source = load_tfds("tiny_digits", "train", data_dir=data_dir, image_size=4)
    assert source.info.image_shape == (4, 4, 1)
    np.testing.assert_array_equal(to_memory(source)["image"], resize_array(IMAGES[:30], 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnis"}, "dataset='mnis': no such data set; near matches: mnist, "),
        ({"name": "CIFAR-10"}, "dataset='CIFAR-10': no such data set; near matches: cifar10, "),
        ({"name": "digit"}, "near matches: digits"),
        ({"name": "qqqqzzzz"}, "nothing in TFDS has a name like it"),
        ({"name": "mnist/foo"}, "BuilderConfig foo not found"),
        ({"split": "val"}, "split='val': the data set 'tiny_digits' has 'train', 'test'"),
        ({"split": "train[:0]"}, r"split='train\[:0\]': .* has 'train', 'test'"),
        ({"channels": 3}, r"'tiny_digits' is grayscale where colour is asked \(channels=3\)"),
        ({"channels": 2}, "channels=2: valid are"),
        ({"data_dir": "nowhere"}, "data_dir='nowhere': no such directory"),
        ({"name": "mnist", "download": False}, "'mnist' is not in .*, and download=False"),
    ],
)
def test_bad_arguments(data_dir, arguments, message):
    with pytest.raises(UserError, match=message):
        load_tfds(**{"name": "tiny_digits", "split": "train", "data_dir": data_dir, **arguments})


def test_a_missing_data_set_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
    )
    with pytest.raises(
        UserError, match=r"'mnist' is not in .*needs tensorflow.*pip install -e '\.\[tensorflow\]'"
    ):
        load_tfds("mnist", "train", data_dir=tmp_path)


def test_a_failed_download_says_why(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def fail(self, **options):
        assert options == {"file_format": "array_record"}
        raise ConnectionError("no route to host")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=r"'mnist' is not in .*could not prepare it: no route to host"):
        load_tfds("mnist", "train", data_dir=tmp_path)


def spoiled(tmp_path, spoil=None, label=None):
    files, labels = [png(image) for image in IMAGES], LABELS.copy()
    if spoil is not None:
        files[17] = spoil
    if label is not None:
        labels[17] = label
    return write_dataset(tmp_path, files, labels)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"spoil": b"not an image"}, "record 17 is not an image of a known format"),
        ({"spoil": png(RNG.integers(0, 256, (64, 64, 1), np.uint8))[:-200]}, "record 17 cannot be read"),
        ({"spoil": png(IMAGES[17, :5])}, "record 17 has 5x5 pixels where the data set declares 6x5"),
        ({"label": 3}, r"labels out of range: .*record 17 has label 3, valid are 0\.\.2"),
        ({"label": -1}, r"labels out of range: .*record 17 has label -1"),
    ],
    ids=["unreadable", "truncated", "wrongly sized", "label 3", "label -1"],
)
def test_a_bad_record_is_named_or_skipped(tmp_path, spoil, message, caplog):
    data_dir = spoiled(tmp_path, **spoil)
    source = load_tfds("tiny_digits", "train", data_dir=data_dir)
    assert len(source.read(np.arange(17))["image"]) == 17
    with pytest.raises(BadRecordError, match=message):
        source.read(np.arange(40))
    caplog.clear()
    good = load_tfds("tiny_digits", "train", data_dir=data_dir, on_bad_record="skip")
    kept = np.delete(np.arange(N), 17)
    arrays = to_memory(good)
    np.testing.assert_array_equal(arrays["image"], IMAGES[kept])
    np.testing.assert_array_equal(arrays["label"], LABELS[kept])
    assert len(good.skipped) == 1 and "record 17" in good.skipped[0]
    assert "skipped 1 of 40 records" in caplog.text and "record 17" in caplog.text
    assert source.skipped == () and len(source) == N


def test_a_record_that_is_no_example_is_named(tmp_path):
    from array_record.python.array_record_module import ArrayRecordWriter

    data_dir = write_dataset(tmp_path, [png(image) for image in IMAGES[:3]], LABELS[:3])
    path = data_dir / "tiny_digits" / "1.0.0" / "tiny_digits-train.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in (b"", b"\xff\xff not a protobuf", b""):
        writer.write(record)
    writer.close()
    source = load_tfds("tiny_digits", "train", data_dir=data_dir)
    with pytest.raises(BadRecordError, match="record 1 cannot be read"):
        source.read(np.array([1]))


def test_differing_sizes_need_an_image_size(tmp_path):
    pictures = [RNG.integers(0, 256, (6 + i, 9 - i, 3), np.uint8) for i in range(4)]
    data_dir = write_dataset(tmp_path, [png(p) for p in pictures], LABELS[:4], shape=(None, None, 3))
    with pytest.raises(UserError, match="image_size=None: the images of 'tiny_digits' have differing sizes"):
        load_tfds("tiny_digits", "train", data_dir=data_dir)
    source = load_tfds("tiny_digits", "train", data_dir=data_dir, image_size=5)
    assert to_memory(source)["image"].shape == (4, 5, 5, 3)
    with pytest.raises(BadRecordError, match="is colour where grayscale is asked"):
        load_tfds("tiny_digits", "train", data_dir=data_dir, image_size=5, channels=1)


def test_a_data_set_without_images(tmp_path):
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    data_dir = write_dataset(tmp_path, [b""], [0], features=features)
    with pytest.raises(
        UserError, match=r"one image in each record is needed, it has none \(its features: text\)"
    ):
        load_tfds("tiny_digits", "train", data_dir=data_dir)
