"""What the scores say of real and of damaged images, what they refuse, and the stage itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.ndimage import gaussian_filter

from dcgan.data.mnist import load_split, write_idx
from dcgan.evaluation.evaluate import (
    FULL_COUNT,
    Digits,
    Evaluation,
    FeatureScorer,
    QuickScores,
    Settings,
    _judges,
    check_finite,
    check_samples,
    evaluate,
    label_scores,
    stand_in_rows,
)
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.report import page, text_table
from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.tracking.run_log import RunLog

ROOT = Path(__file__).parents[2]
COUNT = 200
SHARES = [0.1] * 10


@pytest.fixture(scope="module")
def mnist(mnist_dir) -> tuple[Digits, Digits]:
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    return train, test


@pytest.fixture(scope="module")
def scorer(mnist) -> FeatureScorer:
    return FeatureScorer(mnist[1].images[:1000], load_feature_extractor(), seed=1)


@pytest.fixture(scope="module")
def real(mnist) -> Digits:
    """1,000 training images with the class counts of the first 1,000 test images."""
    train, test = mnist
    return train.rows(stand_in_rows(train.labels, test.labels[:1000]))


def blank(count: int = 2 * COUNT) -> np.ndarray:
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    images[0, 0, 0] = 1  # not all the same
    return images


@pytest.fixture(scope="module")
def samples(mnist) -> Digits:
    return mnist[0].rows(np.random.default_rng(3).permutation(60_000)[: 3 * COUNT])


@pytest.fixture(scope="module")
def found(samples, mnist) -> Evaluation:
    return evaluate(samples, *mnist, load_feature_extractor(), Settings(seed=5, count=COUNT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mnist_dir, mnist) -> Path:
    """A workspace with 400 real digits for samples, evaluated."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "data").mkdir()
    (folder / "data" / "raw").symlink_to(mnist_dir)
    (folder / "models").mkdir()
    for name in ("digit_features.safetensors", "digit_features.json"):
        shutil.copy(ROOT / "models" / name, folder / "models")
    (folder / "models" / "generator.safetensors").write_bytes(b"a model")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sample"]["count"], params["evaluate"]["images"] = 400, 200
    params["model"]["conditional"], params["evaluate"]["inception"] = True, False
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_idx(folder / "samples" / "images-idx3-ubyte", mnist[0].images[:400])
    write_idx(folder / "samples" / "labels-idx1-ubyte", mnist[0].labels[:400])
    record = RunLog.create(folder, "training")
    record.log_tags({"model.sha256": sha256(folder / "models" / "generator.safetensors")})
    record.finish("FINISHED")
    done = run_stage(folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_ROOT": str(folder)}
    command = [sys.executable, str(ROOT / "stages" / "evaluate.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


class TestOrderUnderDamage:
    """FID and KID rise with every step of a damage, from real images on."""

    def ordered(self, scorer: FeatureScorer, steps: list[Digits]) -> None:
        found = [scorer.score(step)[0] for step in steps]
        for key in ("fid", "kid"):
            values = [scores[key] for scores in found]
            assert values == sorted(values), (key, values)
            assert values[-1] > 3 * max(values[0], 0.001)

    def test_blur(self, scorer, real):
        blurred = [gaussian_filter(real.images.astype(float), (0, s, s)).astype(np.uint8) for s in (0.8, 1.6)]
        self.ordered(scorer, [real, *(Digits(images, real.labels) for images in blurred)])

    def test_noise(self, scorer, real):
        rng = np.random.default_rng(0)
        noisy = [np.clip(real.images + rng.normal(0, s, real.images.shape), 0, 255).astype(np.uint8) for s in (30, 60)]
        self.ordered(scorer, [real, *(Digits(images, real.labels) for images in noisy)])

    def test_missing_classes(self, scorer, real):
        steps = [real]
        for kept in (7, 3):
            rows = np.resize(np.flatnonzero(real.labels < kept), len(real.images))
            steps.append(real.rows(rows))
        self.ordered(scorer, steps)

    def test_one_image_repeated(self, scorer, real):
        half = np.where(np.arange(1000) < 500, np.arange(1000), 0)
        self.ordered(scorer, [real, real.rows(half), real.rows(np.zeros(1000, dtype=int))])


class TestLabels:
    def test_agreement_is_the_share_of_digits_as_asked_for(self):
        asked = np.repeat(np.arange(10), 10)
        seen = asked.copy()
        seen[:10] = 1
        assert label_scores(seen, asked, SHARES) == pytest.approx({"label_accuracy": 0.9, "class_balance": 0.9})

    def test_shuffled_labels_are_balanced_and_do_not_agree(self):
        asked = np.repeat(np.arange(10), 10)
        assert label_scores(asked[::-1], asked, SHARES) == pytest.approx({"label_accuracy": 0.0, "class_balance": 1.0})

    def test_without_labels_balance_is_against_the_training_set(self):
        assert label_scores(np.arange(10).repeat(5), None, SHARES) == pytest.approx({"class_balance": 1.0})
        assert label_scores(np.arange(5).repeat(10), None, SHARES) == pytest.approx({"class_balance": 0.5})


class TestRefused:
    @pytest.mark.parametrize(
        "samples, message",
        [
            (Digits(blank()[:, :27], None), r"not uint8 \[N, 28, 28\]"),
            (Digits(blank().astype(np.float32), None), "the samples are float32"),
            (Digits(blank().reshape(-1, 784), None), r"\[400, 784\]"),
            (Digits(blank(399), None), r"399 samples are too few.*sample.count to at least 400"),
            (Digits(blank(), np.zeros(7, dtype=np.uint8)), r"400 samples and labels of shape \[7\]"),
            (Digits(blank(), np.full(400, 255, dtype=np.uint8)), "a label of the samples is 255"),
            (Digits(np.full((400, 28, 28), 9, dtype=np.uint8), None), "400 samples are the same picture"),
        ],
    )
    def test_samples_that_cannot_be_scored(self, samples, message):
        with pytest.raises(UserError, match=message) as error:
            check_samples(samples, COUNT)
        assert "\n" not in str(error.value)

    def test_whole_samples_pass(self):
        check_samples(Digits(blank(), np.zeros(400, dtype=np.uint8)), COUNT)

    def test_a_score_that_is_not_finite_is_named(self):
        with pytest.raises(UserError, match="fid is nan, kid is inf"):
            check_finite({"fid": float("nan"), "recall": 0.5, "kid": float("inf")})
        check_finite({"fid": 1.0})


class TestEvaluate:
    def test_every_score_has_its_value_for_real_data(self, found):
        scores = {key for key in found.scores if not key.endswith("_real")}
        features = {"fid", "relative_fid", "kid", "kid_x1000", "precision", "recall", "density", "coverage"}
        others = {"label_accuracy", "class_balance", "two_sample_28", "cas", "nearest_training", "copied"}
        assert scores == features | others
        assert {f"{key}_real" for key in scores} == set(found.scores) - scores

    def test_training_images_score_as_real_and_as_copies(self, found):
        scores = found.scores
        assert 0.5 < scores["relative_fid"] < 2  # 200 other real images, another class mix
        assert scores["recall"] == pytest.approx(scores["recall_real"], abs=0.15)
        assert scores["label_accuracy"] > 0.98 and scores["copied"] == 1.0 and scores["nearest_training"] == 0.0
        assert 0.3 < scores["two_sample_28"] < 0.7

    def test_real_values_are_of_as_many_images(self, found):
        """FID falls with the count: for 200 images it is many times the stored one for 10,000."""
        assert found.scores["fid_real"] > 3 * load_feature_extractor().record["real_scores"]["fid"]
        assert found.scores["relative_fid"] == pytest.approx(found.scores["fid"] / found.scores["fid_real"], rel=1e-6)

    def test_the_protocol_says_what_was_done(self, found):
        protocol = found.protocol
        assert protocol["features_sha256"] == load_feature_extractor().hash
        assert (protocol["n_generated"], protocol["n_real"], protocol["n_samples"]) == (200, 200, 600)
        assert protocol["evaluate_seed"] == 5 and protocol["kid"]["subset_size"] == 20

    def test_unlabelled_samples_have_no_scores_that_need_labels(self, samples, mnist, found):
        plain = evaluate(Digits(samples.images, None), *mnist, load_feature_extractor(), Settings(seed=5, count=COUNT))
        assert not {"label_accuracy", "agreement_real", "cas", "cas_real"} & set(plain.scores)
        assert "cas" not in plain.protocol
        equal = set(plain.scores) - {"class_balance"}
        assert {key: plain.scores[key] for key in equal} == {key: found.scores[key] for key in equal}  # bit by bit

    def test_judges_are_judged_on_images_that_they_did_not_learn_from(self, samples, mnist):
        train, test = mnist
        judges = _judges(samples, train, test, Settings(seed=5, count=COUNT))
        real, generated, held_out_real, held_out_generated = judges["two_sample_28"].args
        assert (generated == samples.images[COUNT : 2 * COUNT]).all() and (
            held_out_generated == samples.images[:COUNT]
        ).all()
        assert (held_out_real == test.images[:COUNT]).all() and len(real) == COUNT
        known = {image.tobytes() for image in train.images}
        assert all(image.tobytes() in known for image in real)
        taught, _, asked, _ = judges["cas"].args
        assert taught is samples.images and asked is test.images

    def test_tables_show_each_score_beside_real_data(self, found):
        text = text_table(found.scores)
        assert len(text.splitlines()) == 14
        line = next(line for line in text.splitlines() if line.startswith("label_accuracy"))
        assert line.split()[1] == f"{found.scores['agreement']:.2%}"
        assert line.split()[2] == f"{found.scores['agreement_real']:.2%}"
        assert max(len(line) for line in text.splitlines()) <= 120
        html = page(found.scores | {"protocol": found.protocol}, Path("nowhere"))
        assert html.count("<tr>") == 14 and "features_sha256" in html and "<img" not in html


def test_stored_real_scores_are_those_of_this_code(mnist):
    """Those that need no training, again: what was measured then is what is measured now."""
    train, test = mnist
    extractor = load_feature_extractor()
    rows = stand_in_rows(train.labels, test.labels)
    assert (np.bincount(train.labels[rows]) == np.bincount(test.labels)).all() and len(set(rows)) == FULL_COUNT
    found = QuickScores(test.images, extractor, seed=0)(train.images[rows], train.labels[rows])
    stored = extractor.metadata["real_scores"]
    assert found["fid"] == pytest.approx(stored["fid"], rel=1e-4)
    for key in ("precision", "recall", "density", "coverage", "label_accuracy", "class_balance"):
        assert found[key] == pytest.approx(stored[key], abs=5e-4), key  # a few of 10,000 on another processor


class TestStage:
    def test_it_leaves_scores_pictures_and_a_report(self, folder):
        found = {str(path.relative_to(folder / "metrics")) for path in (folder / "metrics").rglob("*.*")}
        pictures = {"figures/real_beside_generated.png", "figures/nearest_training.png"}
        assert found == {"evaluate.json", "report.html"} | pictures
        report = (folder / "metrics" / "report.html").read_text()
        assert report.count('src="data:image/png;base64,') == 2
        scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
        assert scores["copied"] == 1.0 and 0.97 < scores["label_accuracy"] <= 1.0
        assert (
            scores["protocol"]["sample_seed"] == yaml.safe_load((folder / "params.yaml").read_text())["sample"]["seed"]
        )

    def test_it_tells_the_record_of_the_training(self, folder):
        (record,) = RunLog.all(folder)
        scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
        assert record.value("point", "eval/fid", 0) == scores["fid"]

    def test_it_leaves_the_same_bytes_again(self, folder):
        files = list((folder / "metrics").rglob("*.*"))
        before = {path: path.read_bytes() for path in files}
        assert run_stage(folder).returncode == 0
        assert {path: path.read_bytes() for path in files} == before

    def test_a_damaged_input_is_one_line_and_exit_code_2(self, folder, tmp_path):
        broken = tmp_path / "workspace"
        shutil.copytree(folder, broken, symlinks=True)
        (broken / "samples" / "labels-idx1-ubyte").unlink()
        done = run_stage(broken)
        assert done.returncode == 2 and "labels-idx1-ubyte" in done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_report_command_prints_the_scores_and_where_to_look(tmp_path, monkeypatch, capsys):
    from dcgan.commands import report as command

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cannot read metrics/evaluate\.json"):
        command.run(None)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluate.json").write_text('{"relative_fid": 2.345, "relative_fid_real": 1.0}')
    command.run(None)
    printed = capsys.readouterr().out
    assert "2.35" in printed or "2.34" in printed
    assert "1.00" in printed and str(tmp_path / "samples/grid.png") in printed and "make ui" in printed
