"""Scores from freshly trained classifiers: the two-sample test and the classification accuracy score."""

import numpy as np
import torch

from dcgan.evaluation.classifier import Recipe, accuracy, fit, predict

TWO_SAMPLE_RECIPE = Recipe(epochs=3, weight_decay=0.01, magnified=True)
CAS_RECIPE = Recipe(epochs=2)


def two_sample_accuracy(
    real: np.ndarray, generated: np.ndarray, held_out_real: np.ndarray, held_out_generated: np.ndarray, *, seed: int
) -> float:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545), 0..1.

    A classifier is trained to separate `real` from `generated`; the score is its accuracy on the held-out images of
    both. 0.5: indistinguishable; 1: always recognized. It sees raw bytes, so artifacts invisible to the eye count too.

    Args:
        real, generated: uint8 [N, 28, 28], equally many.
        held_out_real, held_out_generated: uint8 [M, 28, 28], equally many, none of them among those above.
    """
    images = torch.from_numpy(np.concatenate([real, generated]))
    is_generated = torch.arange(len(images)) >= len(real)
    classifier = fit(images, is_generated, TWO_SAMPLE_RECIPE, seed=seed, classes=2, title="two-sample test")
    real_correct = predict(classifier, torch.from_numpy(held_out_real)) == 0
    generated_correct = predict(classifier, torch.from_numpy(held_out_generated)) == 1
    return float(torch.cat([real_correct, generated_correct]).double().mean())


def classification_accuracy(
    images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray, *, seed: int
) -> float:
    """Classification accuracy score (Ravuri and Vinyals 2019, arXiv:1905.10887), 0..1.

    A digit classifier is trained on generated images and their requested labels; the score is its accuracy on real
    test images.

    Args:
        images, test_images: uint8 [N, 28, 28].
        labels, test_labels: uint8 [N].
    """
    classifier = fit(torch.from_numpy(images), torch.from_numpy(labels), CAS_RECIPE, seed=seed, title="CAS classifier")
    return accuracy(classifier, test_images, test_labels)
