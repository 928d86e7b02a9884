"""A function of many items, computed on the nodes of a Ray cluster."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dcgan.cluster.on_ray import connect
from dcgan.support.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # items for each core: results wait in the memory of the nodes


def map_on_cluster(address: str, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in order. What is lost with a node is computed again: `function` must give the same every time.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or its nodes were lost again and again.
    """
    ray = connect(address)
    work = ray.remote(num_cpus=1, max_retries=10)(_call)
    shared = ray.put(function)
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(work.remote(shared, item))
            if len(waiting) > AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0))):
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"the cluster lost a part of the work too often ({type(error).__name__}); run the same command again to "
            "continue"
        ) from error
    finally:
        ray.shutdown()


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)
