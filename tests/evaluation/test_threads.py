"""Tasks in parallel: order of results, errors."""

import threading

import pytest

from dcgan.evaluation.threads import run_in_threads


def test_results_are_in_the_order_of_the_tasks():
    second_done = threading.Event()

    def first() -> int:
        second_done.wait(5)
        return 1

    def second() -> int:
        second_done.set()
        return 2

    assert run_in_threads([first, second]) == [1, 2]


def test_an_error_in_a_task_is_raised():
    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_in_threads([broken, lambda: 2])
