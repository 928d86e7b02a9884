"""Random streams: each use of randomness has its own generator.

A stream is identified by seed, purpose and position in the run, not by what was drawn before. So a run can resume at
any step without saved generator states, and drawing more from one stream leaves the others unchanged.
"""

import hashlib

import torch


def random_stream(seed: int, purpose: str, *position: int, device: str | torch.device = "cpu") -> torch.Generator:
    """The generator for one purpose ("order", "latents", ...) at one position (epoch, step, ...) of a run.

    `purpose` is part of the seed: renaming one changes every result.
    """
    digest = hashlib.sha256(repr((seed, purpose, position)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big", signed=True))
