"""All processors: pieces of a range side by side, in threads or in processes."""

import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

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


def in_shares(work: Callable[[int, int, int], T], count: int, shares: int) -> list[T]:
    """Do equal shares of a range on all processors; return what each gave, in order.

    Parameters
    ----------
    work
        Gets the number of a share, which can have memory of its own, and where it starts and ends.
    count
        Length of the range.
    shares
        How many.
    """
    limits = [count * share // shares for share in range(shares + 1)]
    return side_by_side(lambda share, _: work(share, limits[share], limits[share + 1]), shares)


class Processes(ProcessPoolExecutor):
    """Processes that an interrupt (Ctrl-C) ends at once.

    As an exception it could come while one of them holds the lock of the queue of results, and all
    others would wait for that for ever. Futures are cancelled at the end of a `with`, by the
    executor: where its processes have ended it fails at those that others have cancelled.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int):
        at_once = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        super().__init__(count, initializer=at_once)

    def __exit__(self, *about: object) -> None:
        """Cancel what has not begun, wait for what has."""
        self.shutdown(cancel_futures=True)


def cancel(executor: Executor, futures: Iterable[Future[Any]]) -> None:
    """Cancel what has not begun; `Processes` do so by themselves."""
    if not isinstance(executor, Processes):
        for future in futures:
            future.cancel()


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: to start them takes longer than a small layer.

    A process that is forked has none of those of its parent.
    """
    return ThreadPoolExecutor(processors())
