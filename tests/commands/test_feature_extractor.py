"""`dcgan feature-extractor` does not replace the extractor by accident."""

import argparse

import pytest

from dcgan.commands import feature_extractor as command
from dcgan.paths import FEATURE_WEIGHTS
from dcgan.support.errors import UserError


def test_an_existing_feature_extractor_is_replaced_only_on_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FEATURE_WEIGHTS.parent.mkdir()
    FEATURE_WEIGHTS.write_bytes(b"weights")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(UserError, match=r"exists.*incomparable.*--replace.*--real-scores"):
        command.run(parser.parse_args([]))
    assert FEATURE_WEIGHTS.read_bytes() == b"weights"
