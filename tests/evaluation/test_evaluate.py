"""Scores of real and of damaged images, refused samples, and the protocol."""

import numpy as np
import pytest
from evaluation.metrics.test_fid_kid import kid_by_hand
from scipy.ndimage import gaussian_filter

from dcgan.evaluation.evaluate import (
    Digits,
    Evaluation,
    FeatureScorer,
    QuickScores,
    Settings,
    check_finite,
    check_samples,
    classifier_score_tasks,
    evaluate,
    label_scores,
)
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.metrics.fid_kid import fid
from dcgan.evaluation.metrics.two_sample import TESTS
from dcgan.scores import PROTOCOL_VERSION, SCORES
from dcgan.support.errors import UserError

COUNT = 200
UNIFORM = [0.1] * 10


@pytest.fixture(scope="module")
def scorer(mnist) -> FeatureScorer:
    return FeatureScorer(mnist[1].images[:1000], load_feature_extractor(), seed=1)


def blank(count: int = 2 * COUNT) -> np.ndarray:
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    images[0, 0, 0] = 1  # identical samples would be refused
    return images


@pytest.fixture(scope="module")
def samples(mnist) -> Digits:
    return mnist[0].rows(np.random.default_rng(3).permutation(60_000)[: 3 * COUNT])


@pytest.fixture(scope="module")
def found(samples, mnist) -> Evaluation:
    return evaluate(samples, *mnist, load_feature_extractor(), Settings(seed=5, count=COUNT))


class TestMonotonicity:
    """FID and KID rise with every level of damage, starting from real images."""

    def check(self, scorer: FeatureScorer, levels: list[Digits]) -> None:
        found = [scorer.score(level)[0] for level in levels]
        for key in ("fid", "kid"):
            values = [scores[key] for scores in found]
            assert values == sorted(values), (key, values)
            assert values[-1] > 3 * max(values[0], 0.001)

    def test_blur(self, scorer, real):
        blurred = [gaussian_filter(real.images.astype(float), (0, s, s)).astype(np.uint8) for s in (0.8, 1.6)]
        self.check(scorer, [real, *(Digits(images, real.labels) for images in blurred)])

    def test_noise(self, scorer, real):
        rng = np.random.default_rng(0)
        noisy = [np.clip(real.images + rng.normal(0, s, real.images.shape), 0, 255).astype(np.uint8) for s in (30, 60)]
        self.check(scorer, [real, *(Digits(images, real.labels) for images in noisy)])

    def test_missing_classes(self, scorer, real):
        levels = [real]
        for kept in (7, 3):
            rows = np.resize(np.flatnonzero(real.labels < kept), len(real.images))
            levels.append(real.rows(rows))
        self.check(scorer, levels)

    def test_one_image_repeated(self, scorer, real):
        half = np.where(np.arange(1000) < 500, np.arange(1000), 0)
        self.check(scorer, [real, real.rows(half), real.rows(np.zeros(1000, dtype=int))])


def test_fid_and_kid_are_those_of_the_features_with_the_extractors_kernel(mnist, real, scorer):
    """KID against the paper's formula in numpy; the paper's default kernel would give many times as much."""
    extractor = load_feature_extractor()
    features = [extractor.features(images) for images in (mnist[1].images[:1000], real.images)]
    expected = kid_by_hand(*features, seed=1, gamma=extractor.kid_gamma)
    scores, predicted = scorer.score(real)
    assert scores["kid"] == pytest.approx(expected, rel=1e-9)
    assert scores["kid_x1000"] == pytest.approx(1000 * expected, rel=1e-9)
    assert scores["fid"] == pytest.approx(fid(*features), rel=1e-9)
    assert (predicted == extractor.features_and_labels(real.images)[1].numpy()).all()


def test_precision_and_recall_are_not_mixed_up(real, scorer):
    """One image repeated is always a real digit, and covers one of them."""
    scores, _ = scorer.score(real.rows(np.zeros(1000, dtype=int)))
    assert scores["precision"] == 1 and scores["recall"] < 0.01


def test_quick_scores_are_the_feature_scores_with_relative_fid(mnist, real, scorer):
    expected, _ = scorer.score(real)
    stored = load_feature_extractor().metadata["real_scores"]
    found = QuickScores(mnist[1].images[:1000], seed=1)(*real)
    assert found == expected | {"relative_fid": expected["fid"] / stored["fid"]}


class TestLabels:
    def test_label_accuracy_is_the_fraction_of_digits_with_the_requested_label(self):
        requested = np.repeat(np.arange(10), 10)
        predicted = requested.copy()
        predicted[:10] = 1
        assert label_scores(predicted, requested, UNIFORM) == pytest.approx(
            {"label_accuracy": 0.9, "class_balance": 0.9}
        )

    def test_wrong_labels_are_balanced_but_not_accurate(self):
        requested = np.repeat(np.arange(10), 10)
        assert label_scores(requested[::-1], requested, UNIFORM) == pytest.approx(
            {"label_accuracy": 0.0, "class_balance": 1.0}
        )

    def test_without_labels_balance_is_relative_to_the_training_set(self):
        assert label_scores(np.arange(10).repeat(5), None, UNIFORM) == pytest.approx({"class_balance": 1.0})
        assert label_scores(np.arange(5).repeat(10), None, UNIFORM) == pytest.approx({"class_balance": 0.5})


class TestRefused:
    @pytest.mark.parametrize(
        "samples, message",
        [
            (Digits(blank()[:, :27], None), r"not uint8 \[N, 28, 28\]"),
            (Digits(blank().astype(np.float32), None), "the samples are float32"),
            (Digits(blank().reshape(-1, 784), None), r"\[400, 784\]"),
            (Digits(blank(399), None), r"399 samples are too few.*sample.count to at least 400"),
            (Digits(blank(), np.zeros(7, dtype=np.uint8)), r"400 samples, but labels of shape \[7\]"),
            (Digits(blank(), np.full(400, 255, dtype=np.uint8)), "a label of the samples is 255"),
            (Digits(np.full((400, 28, 28), 9, dtype=np.uint8), None), "400 samples are the same picture"),
        ],
    )
    def test_samples_that_cannot_be_scored(self, samples, message):
        with pytest.raises(UserError, match=message) as error:
            check_samples(samples, COUNT)
        assert "\n" not in str(error.value)

    def test_intact_samples_pass(self):
        check_samples(Digits(blank(), np.zeros(400, dtype=np.uint8)), COUNT)

    def test_evaluate_refuses_them_before_it_computes_anything(self, mnist):
        samples = Digits(blank(), np.full(400, 10, dtype=np.uint8))
        with pytest.raises(UserError, match="a label of the samples is 10"):
            evaluate(samples, *mnist, extractor=None, settings=Settings(seed=5, count=COUNT))

    def test_evaluate_returns_no_score_that_is_not_finite(self, samples, mnist, monkeypatch):
        module = "dcgan.evaluation.evaluate.classifier_score_tasks"
        monkeypatch.setattr(module, lambda *_: {"cas": lambda: float("nan")})
        train = mnist[0].rows(slice(5000))
        with pytest.raises(UserError, match=r"^cas is nan: nothing was written"):
            evaluate(samples, train, mnist[1], load_feature_extractor(), Settings(seed=5, count=COUNT))

    def test_a_score_that_is_not_finite_is_named(self):
        with pytest.raises(UserError, match="fid is nan, kid is inf"):
            check_finite({"fid": float("nan"), "recall": 0.5, "kid": float("inf")})
        check_finite({"fid": 1.0})


class TestEvaluate:
    def test_every_score_has_its_value_for_real_data(self, found):
        scores = {key for key in found.scores if not key.endswith("_real")}
        features = {"fid", "relative_fid", "kid", "kid_x1000", "precision", "recall", "density", "coverage"}
        form = {"box_20", "centered", "stray_parts", "gray_distance", "near_black", "flat_strokes", "high_frequencies"}
        others = {"label_accuracy", "class_balance", "cas", "nearest_training", "copied", *TESTS}
        assert scores == features | form | others
        assert {score.key for score in SCORES} == scores - {"kid"} | {"inception_fid", "inception_kid_x1000"}
        assert {f"{key}_real" for key in scores} == set(found.scores) - scores

    def test_training_images_score_like_real_ones_and_as_copies(self, found):
        scores = found.scores
        assert 0.5 < scores["relative_fid"] < 2  # 200 other real images, other class counts
        assert scores["recall"] == pytest.approx(scores["recall_real"], abs=0.15)
        assert scores["label_accuracy"] > 0.98 and scores["copied"] == 1.0 and scores["nearest_training"] == 0.0
        assert all(0.3 < scores[key] < 0.7 for key in TESTS)

    def test_each_part_is_about_the_first_samples(self, found, samples, mnist):
        """Scores of the features, labels and nearest training images are all of the first 200 of 600 samples."""
        extractor, first = load_feature_extractor(), samples.rows(slice(COUNT))
        scores, predicted = FeatureScorer(mnist[1].images[:COUNT], extractor, seed=5).score(first)
        assert {key: found.scores[key] for key in scores} == pytest.approx(scores, abs=1e-8)
        assert (found.predicted == predicted).all()
        assert (mnist[0].images[found.nearest.row] == first.images).all()

    def test_real_values_are_measured_with_as_many_images(self, found):
        """FID falls with the count: with 200 images it is many times the stored value, of 10,000."""
        assert found.scores["fid_real"] > 3 * load_feature_extractor().metadata["real_scores"]["fid"]
        assert found.scores["relative_fid"] == pytest.approx(found.scores["fid"] / found.scores["fid_real"], rel=1e-6)

    def test_the_protocol_describes_the_evaluation(self, found):
        protocol = found.protocol
        assert protocol["version"] == PROTOCOL_VERSION
        assert protocol["features_sha256"] == load_feature_extractor().sha256
        assert (protocol["n_generated"], protocol["n_real"], protocol["n_samples"]) == (200, 200, 600)
        assert protocol["evaluate_seed"] == 5 and protocol["kid"]["subset_size"] == 20

    def test_unlabelled_samples_have_no_scores_that_need_labels(self, samples, mnist, found):
        plain = evaluate(Digits(samples.images, None), *mnist, load_feature_extractor(), Settings(seed=5, count=COUNT))
        assert not {"label_accuracy", "label_accuracy_real", "cas", "cas_real"} & set(plain.scores)
        assert "cas" not in plain.protocol
        gated = [score for score in SCORES if score.gate]  # a gated score that is missing stops `dcgan check`
        assert all((score.key in plain.scores) != score.gate.needs_labels for score in gated)
        unchanged = set(plain.scores) - {"class_balance"}
        assert {key: plain.scores[key] for key in unchanged} == {
            key: found.scores[key] for key in unchanged
        }  # bit by bit

    def test_classifiers_are_tested_on_images_they_were_not_trained_on(self, samples, mnist):
        train, test = mnist
        tasks = classifier_score_tasks(samples, train, test, Settings(seed=5, count=COUNT))
        assert {key: tasks[key].args[1] for key in TESTS} == TESTS
        images = tasks["two_sample_28"].args[0]
        assert all(tasks[key].args[0] is images for key in TESTS)
        assert (images.generated == samples.images[COUNT : 2 * COUNT]).all()
        assert (images.held_out_generated == samples.images[:COUNT]).all()
        assert (images.held_out_real == test.images[:COUNT]).all() and len(images.real) == COUNT
        training = {image.tobytes() for image in train.images}
        assert all(image.tobytes() in training for image in images.real)
        trained_on, requested, tested_on, labels = tasks["cas"].args
        assert trained_on is samples.images and requested is samples.labels
        assert tested_on is test.images and labels is test.labels
        assert {task.keywords["seed"] for task in tasks.values()} == {5}
