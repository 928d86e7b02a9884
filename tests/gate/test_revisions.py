"""Reading runs and baselines from files and revisions, in a repository laid out unlike this one."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from clones import run
from gate.examples import CONTEXT, MEANS, SETTINGS, content_with, run_with

from dcgan.gate.baseline import build_baseline
from dcgan.gate.compare import compare
from dcgan.gate.revisions import experiments, library_versions, read_at, read_reference, read_run, resolve
from dcgan.support.errors import UserError

BASELINE = str(SETTINGS.baseline_file)


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).stdout.strip()


def write_run(folder: Path, seed: int, **scores: float) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(content_with(seed, **scores)))
    return str(folder / "scores.json")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A run of seed 1 and a baseline of seeds 2 to 6, committed on main."""
    folder = tmp_path / "repository"
    write_run(folder / "results", seed=1)
    runs = [run_with(seed, distance=2.3 + 0.04 * seed) for seed in range(2, 7)]
    (folder / "results" / "reference").mkdir()
    (folder / BASELINE).write_text(json.dumps(build_baseline(SETTINGS, runs, "0" * 40, [], {}).model_dump()))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.chdir(folder)
    return folder


def test_another_project_compares_its_own_scores_from_its_own_files(repository):
    reference = read_reference(SETTINGS, BASELINE, None)
    candidate = read_run(SETTINGS, "results/scores.json")
    assert (candidate.seed, candidate.context, candidate.scores) == (1, CONTEXT, MEANS)
    comparison = compare(SETTINGS, reference, [candidate])
    assert [one.score.name for one in comparison.scores] == ["distance", "diversity", "accuracy", "usefulness"]
    assert not comparison.failed
    worse = read_run(SETTINGS, write_run(repository / "elsewhere", seed=9, distance=4.8))
    assert worse.seed == 9 and compare(SETTINGS, reference, [worse]).failed


def test_its_messages_name_its_files_and_its_command(repository):
    (repository / BASELINE).unlink()
    with pytest.raises(UserError, match=r"no baseline results/reference/seeds\.json; measure one: `make reference`"):
        read_reference(SETTINGS, BASELINE, None)
    git(repository, "rm", "-q", "-r", "--cached", "results")
    git(repository, "commit", "-q", "-m", "no results")
    with pytest.raises(UserError, match=r"neither results/reference/seeds\.json nor results/scores\.json"):
        read_reference(SETTINGS, BASELINE, "main")
    with pytest.raises(UserError, match=r"has no results/scores\.json; choose"):
        read_run(SETTINGS, "main")


def test_a_run_of_a_revision_is_read_from_git(repository):
    write_run(repository / "results", seed=8, distance=9.0)  # what the working tree has does not matter
    committed = read_run(SETTINGS, "main")
    assert (committed.source, committed.seed, committed.scores["distance"]) == ("main", 1, 2.4)


def test_a_revision_without_a_baseline_is_its_own_single_run(repository):
    git(repository, "rm", "-q", "--cached", BASELINE)
    git(repository, "commit", "-q", "-m", "no baseline")
    reference = read_reference(SETTINGS, BASELINE, "main")
    assert reference.values["distance"] == [2.4] and len(reference.spread_values["distance"]) == 5
    assert reference.label.startswith("main (1 run, seed 1) with the spread of results/reference/seeds.json (5 seeds")
    assert reference.seeds == []


def test_experiments_are_found_by_name_those_of_the_current_commit_first(repository):
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    second = git(repository, "rev-parse", "HEAD")
    for parent, name in ((second, "both"), (first, "both"), (first, "old")):
        git(repository, "update-ref", f"refs/exps/{parent[:2]}/{parent[2:]}/{name}", parent)
    git(repository, "update-ref", "refs/exps/exec/EXEC_HEAD", first)  # DVC's own, not an experiment
    assert experiments() == {"both": second, "old": first}
    assert resolve("both") == second and resolve("old") == first and resolve("main") == second


def test_files_are_read_relative_to_the_current_folder(repository, monkeypatch):
    commit = resolve("HEAD")
    monkeypatch.chdir(repository / "results")
    assert read_at(commit, "scores.json")["distance"] == 2.4
    assert read_at(commit, "nothing.json") is None


def test_a_committed_file_that_is_not_json_is_refused(repository):
    (repository / "results" / "scores.json").write_text("{")
    git(repository, "commit", "-q", "-a", "-m", "broken")
    with pytest.raises(UserError, match=r"results/scores\.json of .* is not JSON"):
        read_run(SETTINGS, "main")


def test_a_committed_file_that_is_not_utf_8_or_too_deep_is_refused(repository):
    for content in (b'{"distance": "\xff"}', b"[" * 100_000):
        (repository / "results" / "scores.json").write_bytes(content)
        git(repository, "commit", "-q", "-a", "-m", "broken")
        with pytest.raises(UserError, match=r"results/scores\.json of .* is not JSON") as error:
            read_run(SETTINGS, "main")
        assert "\n" not in str(error.value)


def test_versions_of_the_libraries_that_the_settings_name():
    assert library_versions(SETTINGS) == {"numpy": version("numpy")}
