import pytest
import torch

from dcgan.gan.checkpoint import load_newest_checkpoint, save_checkpoint
from dcgan.support.errors import UserError

TENSORS = {
    "weights": torch.arange(12.0).view(3, 4),
    "step": torch.tensor([7]),
    "picture": torch.ones(2, dtype=torch.uint8),
}
NOTES = {"rows": [{"step": 1, "loss": 0.5}], "warnings": []}


def test_a_checkpoint_is_read_back_unchanged(tmp_path):
    save_checkpoint(tmp_path, 7, TENSORS, NOTES)
    checkpoint = load_newest_checkpoint(tmp_path)
    assert checkpoint.notes == NOTES
    assert checkpoint.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensor, checkpoint.tensors[name])
        assert tensor.dtype == checkpoint.tensors[name].dtype


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert load_newest_checkpoint(tmp_path) is None


def test_the_two_newest_are_kept_and_the_newest_is_loaded(tmp_path):
    for step in (9, 80, 700):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["checkpoint-000000080", "checkpoint-000000700"]
    assert load_newest_checkpoint(tmp_path).notes == {"step": 700}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_loaded(tmp_path, capsys, damage):
    save_checkpoint(tmp_path, 1, TENSORS, {"step": 1})
    newest = save_checkpoint(tmp_path, 2, TENSORS, {"step": 2})
    whole = newest.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1  # one bit of the last tensor
    content = {"truncated": whole[:-10], "flipped": bytes(flipped), "empty": b"", "garbage": b"\x80\x04." * 99}[damage]
    newest.write_bytes(content)
    assert load_newest_checkpoint(tmp_path).notes == {"step": 1}
    assert "checkpoint-000000002 is damaged" in capsys.readouterr().err


def test_a_flipped_bit_anywhere_is_detected(tmp_path):
    path = save_checkpoint(tmp_path, 1, TENSORS, NOTES)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 16
        path.write_bytes(flipped)
        assert load_newest_checkpoint(tmp_path) is None


def test_an_unwritable_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"cannot write .*checkpoint-000000001 .*free space or make the folder writable"
    ):
        save_checkpoint(tmp_path / "file", 1, TENSORS, NOTES)
