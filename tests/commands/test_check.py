"""`dcgan check` as a user runs it, in real Git repositories."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clones import ROOT, run
from commands.scores_files import PROTOCOL, write_baseline, write_run

from dcgan.cli import main


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a run of seed 1 and a baseline of seeds 2 to 9, committed on main."""
    folder = tmp_path / "repository"
    write_run(folder / "metrics")
    write_baseline(folder / "metrics", tmp_path / "scratch")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return folder


def check(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["check", *arguments])
    return exit_.value.code, *capsys.readouterr()


def refused(capsys, *arguments: str) -> str:
    """The one line that says why nothing was compared."""
    code, out, err = check(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(("fid", "code"), [(2.4, 0), (4.8, 1)])
def test_the_exit_code_of_the_real_command_is_the_verdict(repository, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    command = [sys.executable, "-m", "dcgan.cli", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == code
    assert answer["scores"]["relative_fid"]["verdict"] == ("REGRESSION" if code else "same")
    assert "| relative FID | lower |" in done.stderr


def test_a_closed_pipe_is_not_an_error(repository):
    write_run(repository / "metrics")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def real_check(*arguments: str, **options) -> subprocess.CompletedProcess:
    """The command in a process of its own, which ends with one line or none on stderr."""
    command = [sys.executable, "-m", "dcgan.cli", "check", *arguments]
    done = subprocess.run(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})
    assert (done.stderr or "").count("\n") <= 1, done.stderr
    return done


@pytest.mark.parametrize(("fid", "unbuffered", "code"), [(2.4, "", 2), (2.4, "1", 2), (4.8, "", 1)])
def test_a_report_that_cannot_be_written_is_an_error_but_a_regression_remains_one(repository, fid, unbuffered, code):
    write_run(repository / "metrics", relative_fid=fid)
    with open("/dev/full", "w") as full:
        done = real_check(stdout=full, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == code and "cannot write the report: No space left on device" in done.stderr


def test_error_messages_that_cannot_be_written_do_not_change_the_exit_code(repository):
    with open("/dev/full", "w") as full:
        assert real_check("--rev", "nowhere", stderr=full).returncode == 2


@pytest.mark.parametrize(("fid", "code"), [(2.4, 0), (4.8, 1)])
def test_closed_output_leaves_the_verdict(repository, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    command = f"{sys.executable} -m dcgan.cli check >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == code


@pytest.mark.parametrize(("fid", "code"), [(2.4, 0), (4.8, 1)])
def test_a_job_summary_that_cannot_be_written_is_a_warning(repository, tmp_path, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    done = real_check(env=os.environ | {"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert done.returncode == code and "| relative FID |" in done.stdout
    assert done.stderr == f"warning: cannot write the job summary {tmp_path} (GITHUB_STEP_SUMMARY): Is a directory\n"


def test_a_crash_is_not_a_regression(repository, tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('half installed')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "ImportError: half installed" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: unexpected ImportError, see the traceback above"


def test_the_real_command_refuses_in_one_line_what_is_not_comparable(repository):
    write_run(repository / "metrics", {"images": 20000})
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "images is 20000 in metrics/evaluate.json but 720000 in metrics/baseline.json" in done.stderr


def test_a_fine_run_shows_its_table_and_both_error_rates(repository, capsys):
    code, out, _ = check(capsys)
    assert code == 0
    for text in (
        "Gate: fine",
        "seed 1",
        "8 seeds",
        "| recall | higher |",
        "| KID x 1000 |",
        " % (at most 0.9 %), detection power ",
        " % for relative FID worse by 50 % (target: 90 %)",
    ):
        assert text in out
    assert "of the committed run, which came with the clone" in out  # there is no report.html beside it
    assert "fid_real" not in out and "FID real" not in out  # a property of the extractor, not of the model
    assert "torch 1.0 -> " in out  # versions are reported ...
    assert "Too few seeds" not in out


@pytest.mark.parametrize(
    ("score", "bad"), [("relative_fid", 4.0), ("recall", 0.7), ("label_accuracy", 0.96), ("cas", 0.96)]
)
def test_each_gated_score_fails_on_its_own(repository, capsys, score, bad):
    write_run(repository / "metrics", **{score: bad})
    code, out, _ = check(capsys)
    assert code == 1 and out.count("| REGRESSION |") == 1


def test_a_score_that_is_only_reported_does_not_fail(repository, capsys):
    write_run(repository / "metrics", kid_x1000=900.0)
    assert check(capsys)[0] == 0


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        *(("protocol", key, "other") for key in PROTOCOL),
        ("training", "conditional", False),
        ("training", "images", 20000),
        ("training", "device", "cuda"),
        ("training", "precision", "fp32"),
    ],
)
def test_another_context_is_not_comparable(repository, capsys, file, key, value):
    write_run(repository / "metrics", **{file: {key: value}})
    line = refused(capsys)
    assert "not comparable" in line and "dcgan baseline" in line
    assert repr(value) in line


@pytest.mark.parametrize(
    ("section", "key"), [("protocol", "version"), ("training", "images"), ("training", "seed"), ("training", None)]
)
def test_scores_that_do_not_say_how_they_were_made_are_refused(repository, capsys, section, key):
    """The training of a file beside them may be another one."""
    path = repository / "metrics" / "evaluate.json"
    content = json.loads(path.read_text())
    (path.parent / "train.json").write_text(json.dumps(content["training"]))
    if key:
        del content[section][key]
    else:
        del content[section]
    path.write_text(json.dumps(content))
    line = refused(capsys)
    assert f"the scores of metrics/evaluate.json have no {section}." in line and "dvc repro" in line


def test_scores_of_another_training_in_the_same_folder_are_not_comparable(repository, capsys):
    """A copy of a longer run's scores beside those of the default."""
    longer = write_run(repository.parent / "long", {"images": 3_000_000, "generator_width": 32})
    longer.rename(repository / "metrics" / "longer.json")
    assert "images is 3000000 in metrics/longer.json but 720000 in" in refused(capsys, "metrics/longer.json")


def test_another_network_is_comparable(repository, capsys):
    """Whether a wider network is better is a question for the gate; how long it was trained is not."""
    write_run(repository / "metrics", {"generator_width": 32})
    assert check(capsys)[0] == 0


@pytest.mark.parametrize("name", ["relative_fid", "kid_x1000"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(repository, capsys, name, value):
    write_run(repository / "metrics", **{name: value})  # Python writes the literals NaN and Infinity
    assert f"{name} is {value}" in refused(capsys)


@pytest.mark.parametrize("name", ["relative_fid", "kid_x1000"])
@pytest.mark.parametrize(("value", "shown"), [(10**400, "an integer of 401 digits"), (-1e308, "-1e+308")])
def test_a_score_too_large_to_compute_with_is_refused(repository, capsys, name, value, shown):
    write_run(repository / "metrics", **{name: value})
    assert f"{name} is {shown}, but must be a number of at most 1e+100" in refused(capsys)


@pytest.mark.parametrize(
    ("key", "value"), [("seed", [1]), ("seed", {}), ("seed", True), ("seed", "1"), ("seed", 1.0), ("images", [1])]
)
def test_a_context_of_the_wrong_type_is_refused(repository, capsys, key, value):
    write_run(repository / "metrics", {key: value})
    assert f"training.{key}, which must be" in refused(capsys)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"fid": "\xff"}', b"\xff\xfe", b"1" * 5000], ids=repr)
def test_files_that_are_not_json_are_refused_here_and_in_git(repository, capsys, content):
    for name in ("evaluate", "baseline"):
        (repository / "metrics" / f"{name}.json").write_bytes(content)
    git(repository, "commit", "-q", "-a", "-m", "broken")
    for arguments in ([], ["--rev", "main"], ["--baseline", "metrics/evaluate.json"]):
        line = refused(capsys, *arguments)
        assert "is not JSON" in line or "is not UTF-8 text" in line
    git(repository, "checkout", "-q", "main~", "metrics/baseline.json")
    assert "is not JSON" in refused(capsys, "main")


def test_missing_and_impossible_scores_are_refused(repository, capsys):
    path = repository / "metrics" / "evaluate.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cas": None}))
    assert "cas is missing" in refused(capsys)
    path.write_text(json.dumps({**content, "relative_fid": 0.0}))
    assert "must be above 0" in refused(capsys)
    path.write_text("{")
    assert "is not JSON" in refused(capsys)
    path.write_text("[]")
    assert "not a JSON object" in refused(capsys)
    path.unlink()
    assert "cannot read" in refused(capsys)


def test_the_seed_of_the_candidate_is_not_in_the_baseline(repository, capsys):
    write_run(repository / "metrics", {"seed": 5})
    assert "seed 5, which is in the baseline" in refused(capsys)


def test_several_candidate_seeds_are_compared_by_their_mean(repository, capsys):
    paths = [
        str(write_run(repository / f"run{seed}", {"seed": seed}, relative_fid=fid))
        for seed, fid in ((20, 2.0), (21, 2.9))
    ]
    assert check(capsys, paths[1])[0] == 0  # 2.9 alone is within the noise of one run
    code, out, _ = check(capsys, "--json", *paths)
    answer = json.loads(out)
    assert code == 0 and answer["scores"]["relative_fid"]["candidate"] == pytest.approx((2.0 * 2.9) ** 0.5)
    assert answer["power"]["candidate_seeds"] == 2
    write_run(repository / "run20", {"seed": 20}, relative_fid=2.9)
    assert check(capsys, *paths)[0] == 1  # 2.9 twice is not
    write_run(repository / "run20", {"seed": 21})
    assert "both trained with seed 21" in refused(capsys, *paths)


def as_before_protocol_2(content: str) -> str:
    """Scores or a baseline as earlier versions of this project wrote them."""
    for new, old in (
        ("features_sha256", "ruler_sha256"),
        ("label_accuracy", "agreement"),
        ('version": 2', 'version": 1'),
    ):
        assert new in content
        content = content.replace(new, old)
    return content


def test_a_baseline_of_an_earlier_protocol_is_refused(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    path.write_text(as_before_protocol_2(path.read_text()))
    line = refused(capsys)
    assert "metrics/baseline.json was measured by another version" in line
    assert "no features_sha256, but ruler_sha256" in line and "dcgan baseline --seeds" in line
    git(repository, "commit", "-q", "-a", "-m", "old")
    assert "metrics/baseline.json of main was measured by another version" in refused(capsys, "--rev", "main")


def test_scores_of_an_earlier_protocol_are_refused(repository, capsys):
    path = repository / "metrics" / "evaluate.json"
    path.write_text(as_before_protocol_2(path.read_text()))
    line = refused(capsys)
    assert "evaluate.json have no protocol.features_sha256" in line and "dvc repro" in line


def test_no_baseline_and_a_broken_one(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    del content["scores"]["cas"]
    path.write_text(json.dumps(content))
    assert "score cas needs at least 3 values" in refused(capsys)
    content["seeds"] = "2"
    path.write_text(json.dumps(content))
    assert "is not a baseline: seeds" in refused(capsys)
    path.unlink()
    assert "dcgan baseline --seeds" in refused(capsys)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "should be a finite number"),
        (float("inf"), "should be a finite number"),
        (10**400, "should be a valid number"),
        (1e200, "should be less than or equal to"),  # its spread would be infinite, and every candidate fine
        (None, "should be a valid number"),
    ],
)
def test_a_baseline_with_an_impossible_value_is_refused(repository, capsys, value, reason):
    write_run(repository / "metrics", recall=0.0)
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    content["scores"]["recall"]["values"][0] = value
    path.write_text(json.dumps(content))
    line = refused(capsys)
    assert "is not a baseline: scores.recall.values.0" in line and reason in line


def test_a_baseline_whose_values_are_not_those_of_its_seeds_is_refused(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    content["scores"]["recall"]["values"].append(0.87)
    path.write_text(json.dumps(content))
    assert "is not a baseline: scores: recall has 9 values for 8 seeds" in refused(capsys)
    content["seeds"][1] = content["seeds"][0]
    path.write_text(json.dumps(content))
    assert "is not a baseline: seeds: a seed occurs twice" in refused(capsys)


def test_a_revision_with_a_baseline_is_the_reference(repository, capsys):
    (repository / "metrics" / "baseline.json").unlink()  # what stands here does not matter
    assert "metrics/baseline.json of main (8 seeds" in check(capsys, "--rev", "main")[1]
    write_run(repository / "metrics", relative_fid=4.8)
    assert check(capsys, "--rev", "HEAD")[0] == 1


def test_a_revision_without_a_baseline_is_its_own_reference(repository, capsys):
    git(repository, "rm", "-q", "--cached", "metrics/baseline.json")
    git(repository, "commit", "-q", "-m", "no baseline")
    code, out, _ = check(capsys, "--rev", "main")
    assert code == 0 and "main (1 run, seed 1) with the spread of metrics/baseline.json" in out
    single, several = (json.loads(check(capsys, "--json", *arguments)[1]) for arguments in (["--rev", "main"], []))
    # one run says less about a mean than eight do: the limit is wider, so that the false-alarm rate holds
    assert single["scores"]["relative_fid"]["limit"] > several["scores"]["relative_fid"]["limit"]
    assert 0.005 < single["power"]["false_alarm_rate"] <= 0.009
    assert single["power"]["detection_power"] < several["power"]["detection_power"]
    assert f"false-alarm rate {100 * single['power']['false_alarm_rate']:.2f} %" in out
    (repository / "metrics" / "baseline.json").unlink()
    assert "there is no baseline" in refused(capsys, "--rev", "main")


def test_unknown_revisions_and_revisions_without_scores(repository, capsys):
    assert "unknown revision nowhere" in refused(capsys, "--rev", "nowhere")
    assert "unknown revision nowhere" in refused(capsys, "nowhere")
    git(repository, "rm", "-q", "-r", "--cached", "metrics")
    git(repository, "commit", "-q", "-m", "no metrics")
    assert "has neither metrics/baseline.json nor metrics/evaluate.json" in refused(capsys, "--rev", "main")
    assert ") has no metrics/evaluate.json; choose" in refused(capsys, "main")


def test_a_shallow_clone_is_given_as_the_reason(repository, tmp_path, monkeypatch, capsys):
    git(repository, "tag", "first")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    line = refused(capsys, "--rev", "first")
    assert "shallow clone" in line and "--unshallow" in line and "fetch-depth: 0" in line
    assert check(capsys, "--rev", "HEAD")[0] == 0  # what is there can be used


def test_outside_a_repository(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    assert "not inside a Git repository" in refused(capsys, "--rev", "main")


def test_the_job_summary_gets_the_table_or_the_reason(repository, tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    check(capsys)
    refused(capsys, "--rev", "nowhere")
    text = summary.read_text()
    assert text.startswith("before\n") and "| relative FID | lower |" in text and "unknown revision nowhere" in text


def test_names_that_are_not_utf_8_are_escaped(repository, tmp_path):
    summary, name = tmp_path / "summary.md", os.fsdecode(b"caf\xe9")
    environment = os.environ | {"GITHUB_STEP_SUMMARY": str(summary)}
    done = real_check("--rev", name, env=environment)
    assert done.returncode == 2 and r"unknown revision caf\udce9" in done.stderr
    git(repository, "branch", name)
    done = real_check("--rev", name, env=environment | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and r"metrics/baseline.json of caf\udce9 (8 seeds" in done.stdout
    assert summary.read_text().count(r"caf\udce9") == 2


def test_a_terminal_gets_aligned_text(repository):
    reader, terminal = os.openpty()
    assert real_check(stdout=terminal).returncode == 0
    os.close(terminal)
    printed = os.read(reader, 100_000).decode()
    os.close(reader)
    assert printed.startswith("Gate: fine") and "|" not in printed and "#" not in printed
    header, rule, first = printed.splitlines()[4:7]
    assert header.index("better") == rule.index("  ") + 2 == first.index("lower") == len("label_accuracy  ")


def test_json_also_says_why_nothing_was_compared(repository, capsys):
    code, out, err = check(capsys, "--json", "--rev", "nowhere")
    assert (code, json.loads(out)["verdict"]) == (2, "error")
    assert "unknown revision" in err
    write_run(repository / "metrics", {"images": 20000})
    code, out, err = check(capsys, "--json")
    assert (code, json.loads(out)["verdict"]) == (2, "not comparable")
    assert "images is 20000" in err
