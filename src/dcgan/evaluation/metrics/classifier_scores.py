"""The classification accuracy score: how well a classifier does that learned from generated digits only."""

import numpy as np
import torch

from dcgan.evaluation.classifier import Recipe, accuracy, fit

CAS_RECIPE = Recipe(epochs=2)


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
