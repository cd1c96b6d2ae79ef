"""hwsim's engines as contenders."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hwsim import engines
from hwsim.bench import Contender, Job, Work

_CYCLES = {"pysim": 1_000}
"""What the slow ones are given."""


def _prepare(engine: str, job: Job, folder: Path) -> Callable[[], Work]:
    job = job.within(cycles=_CYCLES.get(engine))
    layer = job.layer

    def run() -> Work:
        done = engines.run(layer, job.config, engine=engine)
        return Work(done.engine_s, done.activity.cycles.total, job.macs)

    if engine != "pysim":
        run()  # what is compiled is compiled now
    return run


CONTENDERS = [
    Contender(f"hwsim-{name}", what, lambda: None, partial(_prepare, name))
    for name, what in engines.ENGINES.items()
]
