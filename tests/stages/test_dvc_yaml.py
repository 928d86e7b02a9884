"""dvc.yaml compared with the stage scripts and what they import."""

import ast
from pathlib import Path

import pytest
import yaml

from dcgan.paths import GENERATOR

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# Modules that a stage imports without depending on them, each with the reason. Folders end with a slash.
NO_DEPENDENCY = {
    "__init__.py": "empty",
    "params.py": "a schema without values: a new key of another stage must not cause a retraining",
    "paths.py": "where files are, not what is in them",
    "tracked_outputs.py": "what is logged, not what is computed",
    "tracking/": "logs what happened, does not affect the outputs",
    "stage_times.py": "progress display only",
    "support/errors.py": "error messages only",
    "support/lock.py": "locking only",
    "support/package_index.py": "downloads what is then verified by hash",
    "support/progress.py": "progress display only",
    "support/stop_signals.py": "stop requests only",
}


def affects_outputs(path: Path) -> bool:
    name = str(path.relative_to(ROOT / "src" / "dcgan"))
    return path.name != "__init__.py" and not any(
        name.startswith(entry) if entry.endswith("/") else name == entry for entry in NO_DEPENDENCY
    )


def imported_modules(path: Path, seen: set[Path]) -> set[Path]:
    """Files of this package that `path` imports, directly or indirectly."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] != "dcgan":
                continue
            base = ROOT / "src" / Path(*name.split("."))
            for found in (base.with_suffix(".py"), base / "__init__.py"):
                if found.exists() and found not in seen:
                    seen.add(found)
                    if found.name == "__init__.py" or affects_outputs(found):
                        imported_modules(found, seen)
    return seen


def test_the_stages_are_the_scripts():
    assert set(STAGES) == {path.stem for path in (ROOT / "stages").glob("*.py")}
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"PYTHONPATH=src python stages/{name}.py"
        assert f"stages/{name}.py" in stage["deps"]
        assert stage["desc"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_affects_its_outputs(name):
    needed = set(filter(affects_outputs, imported_modules(ROOT / f"stages/{name}.py", set())))
    named = {
        file
        for dep in STAGES[name]["deps"]
        if dep.startswith("src/")
        for file in ((ROOT / dep).rglob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep])
        if file.name != "__init__.py"
    }
    assert named - needed == set(), "in deps, but not imported by the stage"
    assert needed - named == set(), "imported, but not in deps: an edit would not rerun the stage"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_own_section_of_the_parameters(name):
    sections = {entry.split(".")[0] for entry in STAGES[name]["params"]}
    assert name in sections
    assert sections <= {"train": {"train", "model"}, "evaluate": {"evaluate", "model", "sample"}}.get(name, {name})


def test_every_parameter_belongs_to_a_stage():
    used = {entry.split(".")[0] for stage in STAGES.values() for entry in stage["params"]}
    assert used == set(yaml.safe_load((ROOT / "params.yaml").read_text()))


def test_the_registered_model_is_the_generator_of_the_train_stage():
    artifacts = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]
    assert artifacts["generator"]["path"] == str(GENERATOR)
    assert str(GENERATOR) in STAGES["train"]["outs"]


def test_only_the_modules_named_after_it_import_mlflow():
    importing = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importing.add(path.name)
    names = ("model", "models", "runs", "slices", "store")
    assert importing == {f"mlflow_{name}.py" for name in names}
