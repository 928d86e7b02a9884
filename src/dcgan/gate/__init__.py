"""A regression check for the metrics of a DVC project: is a run worse than a baseline, by more than noise over seeds?

Nothing here knows this project: scores, limits and files come in as a `GateSettings` (dcgan.gate_settings builds ours).
"""
