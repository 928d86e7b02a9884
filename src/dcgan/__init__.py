"""A DCGAN that learns to write MNIST digits, as an experiment-tracked pipeline."""
