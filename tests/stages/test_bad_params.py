"""A mistake in params.yaml ends a stage at once: before torch is imported, which takes seconds."""

import sys

import pytest
from clones import ROOT, run

# Without torch and MLflow: importing one of them fails.
WITHOUT = (
    "import runpy, sys; sys.modules.update(torch=None, mlflow=None); runpy.run_path(sys.argv[1], run_name='__main__')"
)


@pytest.mark.parametrize("stage", ["download", "train", "sample", "evaluate"])
def test_a_stage_refuses_bad_parameters_before_it_imports_torch(tmp_path, stage):
    (tmp_path / "params.yaml").write_text("train: 5")
    done = run(tmp_path, sys.executable, "-c", WITHOUT, str(ROOT / "stages" / f"{stage}.py"), check=False)
    assert done.returncode == 2, done.stderr
    assert "train is 5, but should be" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
