"""A real Ray cluster on this machine, of two nodes with a core each. Needs requirements-cluster.txt."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clones import ROOT, run
from cluster.toys import add_remotes, dcgan, experiments, log, make_toy

pytest.importorskip("ray")
pytestmark = pytest.mark.extended
SWEEP = ("sweep", "-S", "train.seed=1..3", "-S", "train.images=6400")
UNFINISHED = ("sweep", "-S", "train.seed=9", "-S", "train.images=6400")


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    folder = make_toy(tmp_path_factory.mktemp("ray") / "toy")
    add_remotes(folder)
    return folder


@pytest.fixture(scope="module")
def address(toy) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    variables = {"PYTHONPATH": str(ROOT / "src"), "TOY_LOG": f"{toy}.log", "RAY_worker_niceness": "0"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():  # the stages have them from the nodes
            patch.setenv(name, value)
        node = {"num_cpus": 1, "object_store_memory": 78_643_200}
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        try:
            cluster.add_node(**node)
            yield cluster.address
        finally:
            cluster.shutdown()


def test_a_failed_run_is_reported_and_the_others_are_in_both_remotes(toy, address):
    fails = toy.with_name("toy.log.break-2")
    fails.touch()
    code, _, err = dcgan(toy, *SWEEP, "--on", address)
    assert code == 2 and "1 of 3 run(s) failed" in err and "broken" in err
    fails.unlink()
    code, out, err = dcgan(toy, *SWEEP, "--on", address)
    assert code == 0, err
    assert sorted(seed for seed, what, _ in log(toy) if what == "start") == ["1", "2", "2", "3"]
    assert [line.split()[-1] for line in out.splitlines()] == ["2.100", "2.200", "2.300"]

    made = experiments(toy.with_suffix(".git"))  # where others find them
    assert made == experiments(toy) and len(made) == 3
    for commit in made.values():
        outs = yaml.safe_load(run(toy, "git", "show", f"{commit}:dvc.lock").stdout)["stages"]["toy"]["outs"]
        (md5,) = [out["md5"] for out in outs if out["path"] == "model"]
        assert (toy.with_suffix(".data") / "files" / "md5" / md5[:2] / md5[2:]).exists()


def test_a_clone_without_the_driver_s_state_finds_what_is_done(toy, address, tmp_path):
    run(tmp_path, "git", "clone", "-q", "-b", "main", str(toy.with_suffix(".git")), "clone")
    code, _, err = dcgan(tmp_path / "clone", *SWEEP, "--on", address, TOY_LOG="/nowhere/log")
    assert code == 0, err


def test_a_commit_that_the_nodes_cannot_get_is_refused(toy, address, tmp_path):
    run(tmp_path, "git", "clone", "-q", "-b", "main", str(toy.with_suffix(".git")), "clone")
    run(tmp_path / "clone", "git", "commit", "-q", "--allow-empty", "-m", "not pushed")
    code, _, err = dcgan(tmp_path / "clone", *SWEEP, "--on", address)
    assert code == 2 and "push it: git push" in err.splitlines()[-1]


def test_a_data_set_has_the_same_bytes_with_and_without_a_cluster(address, tmp_path):
    arguments = ("dataset", "--count", "25000", "--test-count", "1000", "--format", "npz")
    for name, where in (("here", ()), ("nodes", ("--on", address))):
        code, _, err = dcgan(ROOT, *arguments, "-o", str(tmp_path / name), *where)
        assert code == 0, err
    here, nodes = ({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.npz")} for name in ("here", "nodes"))
    assert here == nodes and len(here) == 4
    sums = [(tmp_path / name / "SHA256SUMS").read_text() for name in ("here", "nodes")]
    assert sums[0] == sums[1]


def test_an_address_without_a_cluster_is_one_line(toy):
    code, _, err = dcgan(toy, *UNFINISHED, "--on", "127.0.0.1:1")
    assert code == 2 and err.count("\n") == 1 and "no Ray cluster answers at 127.0.0.1:1" in err


def test_without_ray_the_message_says_what_to_install(toy, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    code, _, err = dcgan(toy, *UNFINISHED, "--on", "127.0.0.1:1", PYTHONPATH=path)
    assert code == 2 and err.splitlines()[-1].endswith("install it: pip install -e '.[cluster]'")
