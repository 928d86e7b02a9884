"""How shards are dealt out to processes, and what arrives; with real processes in stages/test_torchrun.py."""

import pytest
import torch

from dcgan.gan.processes import ONE_PROCESS, TorchrunProcesses, _unflatten, launched_processes
from dcgan.support.errors import UserError


@pytest.fixture
def third_of_four(monkeypatch) -> TorchrunProcesses:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "2"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    return launched_processes()


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launched_processes() is ONE_PROCESS
    assert ONE_PROCESS.own([1, 2]) == [1, 2] and ONE_PROCESS.any(True) and not ONE_PROCESS.any(False)


def test_each_process_has_equally_many_shards_one_after_the_other(third_of_four):
    assert (third_of_four.rank, third_of_four.size) == (2, 4)
    assert third_of_four.own(list(range(8))) == [4, 5]
    third_of_four.use("cpu", 8)
    with pytest.raises(UserError, match=r"4 processes, but train.workers is 6; .* may be 1, 2, 3, 6$"):
        third_of_four.use("cpu", 6)


def test_what_shapes_the_result_is_the_number_of_processes_on_a_gpu_only(third_of_four):
    assert third_of_four.shaping("cpu") == {} and third_of_four.shaping("cuda") == {"processes": 4}
    assert ONE_PROCESS.shaping("cuda") == {}


def test_gathered_gradients_have_the_values_and_the_memory_layout_of_the_local_ones():
    """Norms add in the order of the memory, and fused Adam pairs elements by it."""
    gradients = [torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last), torch.randn(5, 2).T, torch.randn(())]
    values = torch.randn(4)
    row = torch.cat([tensor.reshape(-1) for tensor in (*gradients, values)])
    arrived, others = _unflatten(row, (gradients, values))
    assert torch.equal(others, values)
    for ours, theirs in zip(arrived, gradients, strict=True):
        assert torch.equal(ours, theirs) and ours.stride() == theirs.stride()
