"""Device and precision of a training run, resolved from what the machine has."""

import ctypes
import os

import torch

from dcgan.support.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def resolve_device() -> str:
    """ "cpu" or "cuda": DCGAN_DEVICE if set, else a GPU if PyTorch finds one.

    Raises:
        UserError: DCGAN_DEVICE has another value, or is "cuda" on a machine without a GPU.
    """
    requested = os.environ.get("DCGAN_DEVICE", "auto")
    if requested not in ("auto", "cpu", "cuda"):
        raise UserError(f"DCGAN_DEVICE is {requested!r}, but must be auto, cpu or cuda")
    if requested == "cuda" and not torch.cuda.is_available():
        raise UserError("DCGAN_DEVICE is cuda, but PyTorch finds no GPU here; unset it or set it to cpu")
    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return requested


def resolve_precision(requested: str, device: str) -> str:
    """ "bf16" or "fp32"; "auto" becomes bf16 where the hardware supports it natively.

    Raises:
        UserError: "bf16" on hardware that only emulates it, which is many times slower.
    """
    native = _has_native_bf16(device)
    if requested == "bf16" and not native:
        raise UserError(
            f"train.precision is bf16, which this {device} does not support natively; set it to auto or fp32"
        )
    if requested == "auto":
        return "bf16" if native else "fp32"
    return requested


def _has_native_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for reuse instead of returning it to the system.

    A step allocates and frees about a hundred feature maps of up to 3 MB, and every page that was returned costs a
    page fault when it is allocated again. Keeping them makes training on a CPU about a tenth faster (docs/speed.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc only
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def describe_machine(device: str) -> dict[str, str]:
    """What a result may depend on besides parameters and code: part of the training fingerprint, and logged."""
    machine = {"device": device, "torch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    if device == "cuda":
        machine |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return machine
