"""Scores by freshly trained classifiers: do they tell generated from real, do they learn digits from generated ones."""

import numpy as np
import torch

from dcgan.evaluation.classifier import Recipe, fit, predict

TWO_SAMPLE_RECIPE = Recipe(epochs=3, weight_decay=0.01, magnified=True)
CAS_RECIPE = Recipe(epochs=2)


def two_sample_accuracy(
    real: np.ndarray, generated: np.ndarray, held_out_real: np.ndarray, held_out_generated: np.ndarray, *, seed: int
) -> float:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545).

    A fresh network learns to tell `real` from `generated`; the score is its accuracy on the held-out images of both
    clusters. 0.5: it cannot; 1: it always can. The raw bytes are shown, so any trace counts, also one that no eye sees.

    Args:
        real, generated: uint8 [N, 28, 28], equally many.
        held_out_real, held_out_generated: uint8 [M, 28, 28], equally many, none of them among those above.
    """
    images = torch.from_numpy(np.concatenate([real, generated]))
    is_generated = torch.arange(len(images)) >= len(real)
    judge = fit(images, is_generated, TWO_SAMPLE_RECIPE, seed=seed, classes=2, title="two-sample test")
    calls_real = predict(judge, torch.from_numpy(held_out_real)) == 0
    calls_generated = predict(judge, torch.from_numpy(held_out_generated)) == 1
    return float(torch.cat([calls_real, calls_generated]).double().mean())


def classification_accuracy(
    images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray, *, seed: int
) -> float:
    """Classification accuracy score (Ravuri and Vinyals 2019, arXiv:1905.10887), 0..1.

    A fresh digit classifier learns from generated images and the digits asked for; the score is its accuracy on
    real test images.

    Args:
        images, test_images: uint8 [N, 28, 28].
        labels, test_labels: uint8 [N].
    """
    judge = fit(torch.from_numpy(images), torch.from_numpy(labels), CAS_RECIPE, seed=seed, title="accuracy score")
    return float((predict(judge, torch.from_numpy(test_images)).numpy() == test_labels).mean())
