"""MNIST's files: the bytes written follow the IDX format, and anything that does not follow it is refused."""

import shutil
import struct

import numpy as np
import pytest
from torchvision.datasets import MNIST

from dcgan.data.mnist import FILES, MAX_FILE_SIZE, file_fault, load_split, read_idx, write_idx
from dcgan.support.errors import UserError

# Images of each digit, 0 to 9, as published with the data set.
COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def test_written_bytes_follow_the_published_format(tmp_path):
    write_idx(tmp_path / "images", np.array([[[1, 2, 3], [4, 5, 255]]], np.uint8))
    write_idx(tmp_path / "labels", np.array([7, 0], np.uint8))
    assert (tmp_path / "images").read_bytes().hex() == "000008030000000100000002000000030102030405ff"
    assert (tmp_path / "labels").read_bytes().hex() == "00000801000000020700"


@pytest.mark.parametrize("shape", [(0,), (5,), (0, 28, 28), (1, 28, 28), (300, 3, 5)])
def test_round_trip(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_idx(tmp_path / "file", array)
    back = read_idx(tmp_path / "file")
    assert back.dtype == np.uint8 and back.shape == shape and np.array_equal(back, array)
    assert back.flags.writeable  # torch.from_numpy warns about read-only arrays


def test_strided_arrays_are_written_in_row_order(tmp_path):
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4).transpose(0, 2, 1)[:, ::2]
    write_idx(tmp_path / "file", array)
    assert np.array_equal(read_idx(tmp_path / "file"), array)


@pytest.mark.parametrize("array", [np.zeros((2, 28, 28)), np.zeros((2, 784), np.uint8), np.zeros(3, np.int64)])
def test_arrays_that_are_neither_images_nor_labels_are_refused(tmp_path, array):
    with pytest.raises(ValueError, match="uint8 in 1 or 3 dimensions"):
        write_idx(tmp_path / "file", array)
    assert not list(tmp_path.iterdir())


def test_torchvision_reads_the_written_files(tmp_path):
    rng = np.random.default_rng(1)
    written = {}
    for name in FILES:
        shape = (37, 28, 28) if "images" in name else (37,)
        written[name] = rng.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        write_idx(tmp_path / "MNIST" / "raw" / name, written[name])
    for prefix, train in (("train", True), ("t10k", False)):
        theirs = MNIST(tmp_path, train=train)
        assert np.array_equal(theirs.data.numpy(), written[f"{prefix}-images-idx3-ubyte"])
        assert np.array_equal(theirs.targets.numpy(), written[f"{prefix}-labels-idx1-ubyte"])


@pytest.mark.parametrize("split", ["train", "test"])
def test_load_split_returns_the_same_as_torchvision(mnist_dir, tmp_path, split):
    images, labels = load_split(mnist_dir, split)
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (sum(COUNTS[split]), 28, 28)
    assert np.bincount(labels).tolist() == COUNTS[split]
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "raw").symlink_to(mnist_dir)
    theirs = MNIST(tmp_path, train=split == "train")
    assert np.array_equal(theirs.data.numpy(), images) and np.array_equal(theirs.targets.numpy(), labels)


def test_largest_file_is_the_size_of_the_largest_file(mnist_dir):
    assert max((mnist_dir / name).stat().st_size for name in FILES) == MAX_FILE_SIZE


def test_missing_truncated_and_altered_files_are_refused(mnist_dir, tmp_path):
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        shutil.copy(mnist_dir / name, tmp_path)
    load_split(tmp_path, "test")
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    intact = labels.read_bytes()

    altered = bytearray(intact)
    altered[5000] ^= 1  # right length, one wrong label
    labels.write_bytes(altered)
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte is truncated or altered \(10,008 bytes.*dvc repro"):
        load_split(tmp_path, "test")
    labels.write_bytes(intact[:-1])
    with pytest.raises(UserError, match=r"truncated or altered \(10,007 bytes"):
        load_split(tmp_path, "test")
    labels.unlink()
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte is missing; run `dvc repro download`"):
        load_split(tmp_path, "test")
    assert file_fault(tmp_path / "t10k-images-idx3-ubyte") is None


def header(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an IDX file: it starts with 0x, not with 0x00000801"),
        (b"\0\0\x08", "is not an IDX file: it starts with 0x000008,"),
        (b"\x1f\x8b\x08\0" + b"x" * 20, "starts with 0x1f8b0800.*a .gz file must be unpacked first"),
        (header(0x0D03, 1, 1, 1) + b"1234", "starts with 0x00000d03"),  # an IDX file of floats
        (header(0x0802, 1, 1) + b"1", "starts with 0x00000802"),
        (header(0x0803, 1, 28), "is truncated: it ends within its header of 16 bytes"),
        (header(0x0801, 3) + b"12", "is truncated: its header promises 3 = 3 bytes of data, but 2 follow"),
        (
            header(0x0803, 2, 2, 2) + b"1234567",
            "is truncated: its header promises 2 x 2 x 2 = 8 bytes of data, but 7 follow",
        ),
        (header(0x0801, 3) + b"1234", "has trailing bytes: .* 3 bytes of data, but 4 follow"),
        # 2**64 bytes: overflows to 0 in 64-bit arithmetic, which would match the 0 bytes that follow.
        (header(0x0803, 2**31, 2**31, 4), r"is truncated: .* = 18,446,744,073,709,551,616 bytes of data, but 0 follow"),
        (header(0x0803, *[2**32 - 1] * 3) + b"1", "is truncated: .* = 79,228,162,458,924,105,3.* 1 follow"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_idx(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value) and "\n" not in str(caught.value)


def test_error_names_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nowhere: No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(UserError, match="Is a directory"):
        read_idx(tmp_path)
