"""`dcgan dataset`: read by the libraries that it is made for, the same bytes whatever happens on the way."""

import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from generators import make_generator
from PIL import Image
from torchvision.datasets import MNIST, ImageFolder

from dcgan.cli import main
from dcgan.dataset.digits import DigitSource
from dcgan.dataset.shards import Record
from dcgan.gan.model_files import save_network
from dcgan.gan.sampling import TRAINING_COUNTS
from dcgan.support.lock import hold

COUNTS = ["--count", "250", "--test-count", "30"]  # with shards of 100: four
FORMATS = ("idx", "npz", "parquet", "png")
SUFFIXES = {"idx": ".unfinished", "npz": ".npz", "parquet": ".parquet", "png": ".png"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    save_network(tmp_path / "models/generator.safetensors", make_generator())
    monkeypatch.chdir(tmp_path)
    for name in ("digits.BLOCK", "build.BLOCK", "shards.SHARD"):
        monkeypatch.setattr(f"dcgan.dataset.{name}", 100)
    return tmp_path


@pytest.fixture
def dataset(folder, capsys):
    """Call `dcgan dataset`, in this process: a new one would import torch each time."""

    def call(output: str, *arguments: str) -> subprocess.CompletedProcess:
        with pytest.raises(SystemExit) as ended:
            main(["dataset", "-o", output, *arguments])
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(seed: int = 0, split: str = "train", rows: int = 250) -> tuple[np.ndarray, np.ndarray]:
    source = DigitSource(make_generator(), seed, tuple(range(10)), "balanced")
    images, labels = zip(*(source.block(split, block) for block in range(-(-rows // 100))), strict=True)
    return np.concatenate(images)[:rows], np.concatenate(labels)[:rows]


def in_order(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted by label, as folders of classes are."""
    order = np.argsort(labels, kind="stable")
    return images[order], labels[order]


def test_idx_is_read_by_torchvision(dataset, folder):
    assert dataset("digits", *COUNTS).stdout == "digits\n"
    for train, (images, labels) in ((True, expected()), (False, expected(split="test", rows=30))):
        read = MNIST("digits", train=train)
        assert np.array_equal(read.data, images)
        assert np.array_equal(read.targets, labels)


def test_npz_is_read_by_numpy(dataset, folder):
    assert dataset("digits", *COUNTS, "--format", "npz").returncode == 0
    images, labels = expected()
    for index, path in enumerate(sorted(Path("digits/data").glob("train-*.npz"))):
        with np.load(path) as archive:
            rows = slice(100 * index, 100 * (index + 1))
            assert np.array_equal(archive["images"], images[rows])
            assert np.array_equal(archive["labels"], labels[rows])
    assert sorted(os.listdir("digits/data"))[-1] == "train-00002-of-00003.npz"


def test_png_is_read_by_torchvision(dataset, folder):
    assert dataset("digits", *COUNTS, "--format", "png").returncode == 0
    read = ImageFolder("digits/train")
    assert read.classes == [str(digit) for digit in range(10)]
    images, labels = in_order(*expected())
    assert read.targets == labels.tolist()
    assert np.array_equal([np.asarray(Image.open(path)) for path, _ in read.samples], images)
    assert len(ImageFolder("digits/test")) == 30


def test_parquet_has_png_images_and_the_types_of_hugging_face(dataset, folder):
    import pyarrow.parquet

    assert dataset("digits", *COUNTS, "--format", "parquet").returncode == 0
    tables = [pyarrow.parquet.read_table(path) for path in sorted(Path("digits/data").glob("train-*"))]
    features = json.loads(tables[0].schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["_type"] == "ClassLabel" and features["label"]["names"][7] == "7"
    rows = [row for table in tables for row in table.to_pylist()]
    images, labels = expected()
    assert [row["label"] for row in rows] == labels.tolist()
    assert np.array_equal([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows], images)


@pytest.mark.extended
def test_parquet_is_read_by_hugging_face_datasets_and_its_card_by_the_hub(dataset, folder):
    import datasets
    from huggingface_hub import DatasetCard

    assert dataset("digits", *COUNTS, "--format", "parquet").returncode == 0
    read = datasets.load_dataset("digits", cache_dir="cache")
    assert {split: len(rows) for split, rows in read.items()} == {"train": 250, "test": 30}
    assert isinstance(read["train"].features["image"], datasets.Image)
    assert isinstance(read["train"].features["label"], datasets.ClassLabel)
    images, labels = expected()
    assert read["train"]["label"][:] == labels.tolist()
    assert np.array_equal(np.stack([np.asarray(row["image"]) for row in read["train"]]), images)
    card = DatasetCard.load("digits/README.md")
    assert card.data.license == "mit" and card.data.task_categories == ["image-classification"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_file_is_in_the_manifest(dataset, folder, format):
    assert dataset("digits", "--count", "120", "--test-count", "10", "--format", format).returncode == 0
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd="digits", capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    named = {line.split(": ")[0] for line in checked.stdout.splitlines()}
    assert named == set(contents(Path("digits"))) - {"SHA256SUMS", "README.md", ".shards.jsonl", ".lock"}


@pytest.mark.parametrize("format", FORMATS)
def test_rows_and_shards_do_not_depend_on_the_count_or_on_the_number_of_threads(dataset, folder, format, monkeypatch):
    for name, count, cores in (("one", "120", {0}), ("three", "120", {0, 1, 2}), ("more", "200", {0, 1})):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: cores)
        done = dataset(name, "--count", count, "--test-count", "10", "--format", format, "--seed", "4")
        assert done.returncode == 0
    assert contents(Path("one")) == contents(Path("three"))
    if format == "idx":
        shorter, longer = (MNIST(name).data for name in ("one", "more"))
        assert torch.equal(shorter, longer[:120])
    else:
        one, more = (contents(Path(name)) for name in ("one", "more"))
        for name, data in one.items():
            if name.startswith("train/") or "train-00000" in name:
                assert more[name] == data


def test_seed_classes_and_mix_select_the_digits(dataset, folder):
    for name, options in (("a", ["--seed", "1"]), ("b", ["--seed", "2"])):
        assert dataset(name, *COUNTS, *options).returncode == 0
    assert not torch.equal(MNIST("a").data, MNIST("b").data)
    assert dataset("c", *COUNTS, "--classes", "8", "3").returncode == 0
    assert torch.bincount(MNIST("c").targets).tolist() == [0, 0, 0, 125, 0, 0, 0, 0, 125]
    assert dataset("d", "--count", "1000", "--test-count", "1", "--mix", "mnist").returncode == 0
    assert (torch.bincount(MNIST("d").targets) - torch.tensor(TRAINING_COUNTS) / 60).abs().max() < 1


@pytest.mark.parametrize("format", FORMATS)
def test_an_interrupted_data_set_is_continued_to_the_same_bytes(dataset, folder, format, monkeypatch):
    """Stopped by Ctrl-C in its third shard, with a torn line in its record and a damaged shard; then made whole."""
    arguments = [*COUNTS, "--format", format]
    assert dataset("whole", *arguments).returncode == 0
    add, block, added = Record.add, DigitSource.block, []

    def add_two(self, shard, files):
        add(self, shard, files)
        added.append(shard)
        if len(added) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Record, "add", add_two)
    stopped = dataset("digits", *arguments)
    assert stopped.returncode == 130
    assert "stopped by SIGINT; run the same command again to continue" in stopped.stderr
    assert not Path("digits/SHA256SUMS").exists()
    monkeypatch.setattr(Record, "add", add)
    made = []
    monkeypatch.setattr(DigitSource, "block", lambda *arguments: made.append(arguments[1:]) or block(*arguments))
    with open("digits/.shards.jsonl", "ab") as record:
        record.write(b'{"shard": "train-00')
    damage(next(path for path in sorted(Path("digits").rglob("*")) if path.suffix == SUFFIXES[format]))
    continued = dataset("digits", *arguments)
    assert continued.returncode == 0
    assert "digits: 100 of 280 digits are there and intact" in continued.stderr
    assert sorted(made) == [("test", 0), ("train", 0), ("train", 2)]
    assert contents(Path("digits")) == contents(Path("whole"))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def test_a_finished_data_set_is_only_checked(dataset, folder, monkeypatch):
    assert dataset("digits", *COUNTS).returncode == 0
    before = contents(Path("digits"))
    monkeypatch.setattr(DigitSource, "block", None)
    assert dataset("digits", *COUNTS).returncode == 0
    assert contents(Path("digits")) == before


def test_a_damaged_shard_that_cannot_be_made_again_is_an_error(dataset, folder, monkeypatch):
    """Another version of PyTorch may round otherwise."""
    assert dataset("digits", *COUNTS, "--format", "npz").returncode == 0
    damage(Path("digits/data/train-00001-of-00003.npz"))
    block = DigitSource.block
    monkeypatch.setattr(DigitSource, "block", lambda *key: (block(*key)[0] ^ 1, block(*key)[1]))
    done = dataset("digits", *COUNTS, "--format", "npz")
    assert done.returncode == 2
    assert (
        "shard train-00001-of-00003 is damaged, and this machine or this version of PyTorch makes other" in done.stderr
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "251"], "digits was begun with other arguments: count 250, not 251, generator"),
        (["--seed", "1"], "seed 0, not 1"),
        (["--format", "npz"], "format idx, not npz"),
        (["--classes", "1", "2"], "classes 0 1 2 3 4 5 6 7 8 9, not 1 2"),
        (["--mix", "mnist"], "mix balanced, not mnist"),
    ],
)
def test_other_arguments_in_a_folder_that_was_begun_are_refused(dataset, folder, options, message):
    Path("digits").mkdir()
    asked = {
        "count": 250,
        "test-count": 30,
        "format": "idx",
        "seed": 0,
        "classes": list(range(10)),
        "mix": "balanced",
    }
    Path("digits/.shards.jsonl").write_text(json.dumps({"asked": asked | {"generator": "0" * 64}}) + "\n")
    done = dataset("digits", *COUNTS, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "generator 00000000..., not " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("digits/MNIST").exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(dataset, folder):
    done = dataset("models", *COUNTS)
    assert done.returncode == 2
    assert "models has other files (generator.safetensors) and no data set" in done.stderr
    assert os.listdir("models") == ["generator.safetensors"]
    assert "is a file" in dataset("models/generator.safetensors").stderr


def test_two_processes_do_not_write_the_same_folder(dataset, folder):
    with hold(Path("digits/.lock"), "another"):
        done = dataset("digits", *COUNTS)
    assert done.returncode == 2
    assert "digits/.lock is held by process" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count is 0; allowed are 1 to 1,000,000,000"),
        (["--test-count", "0"], "--test-count is 0; allowed are 1 to 1,000,000,000 with --format idx, whose readers"),
        (["--seed", "-1"], "--seed is -1; allowed are 0 to 2147483647"),
        (["--classes", "3", "10"], "--classes is 3 10; allowed are digits 0 to 9, each once"),
        (["--classes", "3", "3"], "--classes is 3 3"),
        (["--generator", "nowhere"], "there is no generator at nowhere"),
    ],
)
def test_mistakes_are_one_line_and_code_2(dataset, folder, arguments, message):
    done = dataset("digits", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_small_a_disk_is_noticed_at_the_start(dataset, folder):
    done = dataset("digits", "--count", "1000000000")
    assert done.returncode == 2
    assert "the data set needs 785.0 GB more, but digits has" in done.stderr
    assert dataset("digits", *COUNTS).returncode == 0  # nothing had been begun


def start(folder: str, *arguments: str, largest_file: int = resource.RLIM_INFINITY) -> int:
    """Begin `dcgan dataset` in a copy of this process, where torch is imported already; its process id.

    What it prints goes to FOLDER.log.
    """
    process = os.fork()
    if process:
        return process
    with open(f"{folder}.log", "w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    code = 3
    try:
        main(["dataset", "-o", folder, *arguments])
    except SystemExit as ended:
        code = ended.code
    finally:
        os._exit(code)


def exit_code(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_full_disk_is_one_line_and_costs_no_finished_shard(folder):
    """The limit on a file's size stands for a full disk."""
    assert exit_code(start("digits", *COUNTS, largest_file=150_000)) == 2
    (error,) = [line for line in Path("digits.log").read_text().splitlines() if line.startswith("error")]
    assert "cannot write digits/MNIST/raw/.train-images-idx3-ubyte.unfinished: File too large; free space" in error
    assert "Traceback" not in Path("digits.log").read_text()
    assert Path("digits/.shards.jsonl").read_text().count("\n") == 2
    assert exit_code(start("digits", *COUNTS)) == 0
    assert np.array_equal(MNIST("digits").data, expected()[0])


def test_a_killed_process_is_continued(folder):
    """kill -9 once the first shard is recorded; the rest of the kills are with the fault tests."""
    assert exit_code(start("whole", *COUNTS)) == 0
    process = start("digits", *COUNTS)
    record, deadline = Path("digits/.shards.jsonl"), time.monotonic() + 300
    while not (record.exists() and record.read_text().count("\n") > 1):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    assert exit_code(process) == -signal.SIGKILL
    assert exit_code(start("digits", *COUNTS)) == 0
    assert contents(Path("digits")) == contents(Path("whole"))


@pytest.mark.faults
@pytest.mark.parametrize("format", FORMATS)
def test_twenty_kills_lose_and_double_nothing(folder, format):
    """kill -9 at random moments, over and over; in the end the bytes are those of an undisturbed data set."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    arguments = ("--count", "3050", "--test-count", "150", "--format", format)
    started = time.monotonic()
    assert exit_code(start("whole", *arguments)) == 0
    takes = time.monotonic() - started
    kills, finished = 0, 0
    while kills < 20:
        process = start("digits", *arguments)
        time.sleep(moments.uniform(0, takes / 4))
        os.kill(process, signal.SIGKILL)
        if exit_code(process) == 0:  # it was faster
            finished += 1
            assert contents(Path("digits")) == contents(Path("whole"))
            shutil.rmtree("digits")
        kills += 1
    assert exit_code(start("digits", *arguments)) == 0
    assert contents(Path("digits")) == contents(Path("whole"))
    print(f"{kills} kills, {finished + 1} data sets")


def test_the_card_says_what_the_digits_are(dataset, folder):
    assert dataset("digits", *COUNTS, "--format", "parquet", "--seed", "3").returncode == 0
    _, header, text = Path("digits/README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["license"] == "mit"
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"][0]["data_files"][1] == {"split": "test", "path": "data/test-*.parquet"}
    assert "250 (train), 30 (test)" in text
    assert "--count 250 --test-count 30 --format parquet --seed 3 --classes 0 1 2 3 4 5 6 7 8 9 --mix balanced" in text
    assert "scores are not known here" in text


def test_the_card_has_the_scores_of_this_generator_only(dataset, folder):
    import hashlib

    scores = {"relative_fid": 1.234, "relative_fid_real": 1.0, "cas": 0.9876}
    Path("metrics").mkdir()
    Path("metrics/evaluate.json").write_text(json.dumps(scores))
    names = ("models/generator.safetensors", "metrics/evaluate.json")
    outs = [{"path": name, "md5": hashlib.md5(Path(name).read_bytes()).hexdigest()} for name in names]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"all": {"outs": outs}}}))
    assert dataset("digits", "--count", "10", "--test-count", "1").returncode == 0
    text = Path("digits/README.md").read_text()
    assert "| 1.23 | 1.00 |" in text and "| 98.76% |  |" in text
    save_network("models/generator.safetensors", make_generator(clusters_per_class=1))
    assert dataset("other", "--count", "10", "--test-count", "1").returncode == 0
    assert "scores are not known here" in Path("other/README.md").read_text()


def test_an_unconditional_generator_is_refused(dataset, folder):
    save_network("models/generator.safetensors", make_generator(conditional=False))
    done = dataset("digits")
    assert done.returncode == 2
    assert "conditional: false" in done.stderr
    assert not Path("digits").exists()
