"""Constants of several packages. This module imports nothing, so params.yaml is checked before torch is loaded."""

CLASSES = 10  # digits 0 to 9
STD_GROUP = 4  # images per group of the minibatch standard deviation
