"""All processors: pieces of a range side by side, in threads that are started once."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


def processors() -> int:
    """Return the processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux says which
        return os.cpu_count() or 1


def side_by_side(work: Callable[[int, int], T], count: int) -> list[T]:
    """Do pieces of a range on all processors; return what each gave, in order.

    There are more pieces than processors, since these may have something else to do as well.

    Parameters
    ----------
    work
        Gets start and end of a piece; should leave the interpreter alone.
    count
        Length of the range.
    """
    size = max(1, -(-count // (4 * processors())))
    pieces = [(start, min(start + size, count)) for start in range(0, count, size)]
    return list(_threads(os.getpid()).map(lambda piece: work(*piece), pieces))


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: to start them takes longer than a small layer.

    A process that is forked has none of those of its parent.
    """
    return ThreadPoolExecutor(processors())
