import pytest

from dcgan.cluster.grid import combinations, experiments
from dcgan.support.errors import UserError


def test_every_combination_is_a_run_with_the_last_setting_varying_fastest():
    options = ["train.seed=1..2,7", "model.generator_width=16,32", "train.images=6400"]
    found = combinations(options)
    assert len(found) == 6
    assert found[1] == ("train.seed=1", "model.generator_width=32", "train.images=6400")
    assert found[-1] == ("train.seed=7", "model.generator_width=32", "train.images=6400")


def test_the_same_work_has_the_same_name_in_every_sweep():
    alone = experiments("sweep", ["train.images=6400", "train.seed=2"], "a" * 40)
    among = experiments("sweep", ["train.seed=1..3", "train.images=6400,640"], "a" * 40)
    assert {e.name for e in alone} == {e.name for e in among} & {e.name for e in alone}
    other = experiments("sweep", ["train.seed=1..3", "train.images=6400,640"], "b" * 40)
    kind = experiments("baseline", ["train.seed=1..3", "train.images=6400,640"], "a" * 40)
    assert (
        len({e.name for e in (*among, *other, *kind)}) == 18
    )  # of another commit or for another purpose, another name
    assert [e.label for e in among[:2]] == ["seed=1 images=6400", "seed=1 images=640"]
    assert among[0].name.endswith("-seed-1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train.seed"], "must be NAME=VALUES"),
        (["train.seed="], "must be NAME=VALUES"),
        (["train.seed=3..1"], "the range 3..1 is empty"),
        (["train.seed=1,,2"], "a value is empty"),
        (["train.seed=1..3,2"], "the value 2 occurs twice"),
        (["train.seed=1", "train.seed=2"], "train.seed is set twice"),
        (["train.seed=1..100000000000"], "more than 2,000 values"),
        (["train.seed=1..1000", "train.images=1..1000"], "1,000,000 runs"),
    ],
)
def test_what_is_not_a_grid_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        experiments("sweep", options, "a" * 40)
