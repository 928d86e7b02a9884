"""Numbers that more than one package needs. Imports nothing, so that params.yaml is checked before torch is loaded."""

CLASSES = 10  # digits 0 to 9
STD_GROUP = 4  # images that the minibatch standard deviation compares with each other
