"""Random streams: each use of randomness draws from a generator of its own.

A stream is named by its seed, its purpose and where in the run it is used, not by what was drawn before. So a run can
resume at any step without saved generator states, and drawing more of one thing changes no other.
"""

import hashlib

import torch


def random_stream(seed: int, purpose: str, *position: int, device: str | torch.device = "cpu") -> torch.Generator:
    """The generator for one purpose ("order", "latents", ...) at one position (epoch, step, ...) of a run."""
    digest = hashlib.sha256(repr((seed, purpose, position)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big", signed=True))
