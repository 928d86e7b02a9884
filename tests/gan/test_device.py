"""The device and the precision of a training run: what is asked for, and what the machine has."""

import pytest
import torch

from dcgan.gan.device import describe_machine, resolve_device, resolve_precision
from dcgan.support.errors import UserError


@pytest.fixture
def gpu(monkeypatch):
    """Gives the machine a GPU of some compute capability, or none."""

    def install(capability: tuple[int, int] | None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)

    return install


@pytest.mark.parametrize(
    ("requested", "capability", "device"),
    [
        (None, None, "cpu"),
        (None, (8, 0), "cuda"),
        ("auto", None, "cpu"),
        ("auto", (8, 0), "cuda"),
        ("cpu", (8, 0), "cpu"),
        ("cuda", (8, 0), "cuda"),
    ],
)
def test_the_device_is_the_one_asked_for_or_else_a_gpu_if_there_is_one(requested, capability, device, gpu, monkeypatch):
    gpu(capability)
    monkeypatch.delenv("DCGAN_DEVICE", raising=False)
    if requested:
        monkeypatch.setenv("DCGAN_DEVICE", requested)
    assert resolve_device() == device


@pytest.mark.parametrize(
    ("requested", "message"),
    [("gpu", "DCGAN_DEVICE is 'gpu', but must be auto, cpu or cuda"), ("cuda", "PyTorch finds no GPU here")],
)
def test_a_device_that_is_not_there_is_refused(requested, message, gpu, monkeypatch):
    gpu(None)
    monkeypatch.setenv("DCGAN_DEVICE", requested)
    with pytest.raises(UserError, match=message):
        resolve_device()


@pytest.mark.parametrize("native", [{"avx512_bf16": True}, {"amx_bf16": True}, {"sve_bf16": True}, {"bf16": True}, {}])
def test_precision_auto_is_bf16_on_a_cpu_with_support_for_it(native, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False} | native)
    assert resolve_precision("auto", "cpu") == ("bf16" if native else "fp32")
    assert resolve_precision("fp32", "cpu") == "fp32"
    if native:
        assert resolve_precision("bf16", "cpu") == "bf16"
    else:
        with pytest.raises(UserError, match=r"train\.precision is bf16, which this cpu does not support natively"):
            resolve_precision("bf16", "cpu")


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_auto_is_bf16_on_a_gpu_from_ampere_on(capability, precision, gpu):
    gpu(capability)
    assert resolve_precision("auto", "cuda") == precision


def test_the_description_names_the_device_and_the_version_of_pytorch():
    found = describe_machine("cpu")
    assert set(found) == {"device", "torch", "cpu_capability"}
    assert (found["device"], found["torch"]) == ("cpu", torch.__version__)
