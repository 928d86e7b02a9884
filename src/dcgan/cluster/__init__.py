"""Many DVC experiments at once: on the cores of this machine, or on the nodes of a Ray cluster."""
