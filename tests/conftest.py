import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hwsim.engines import ports

settings.register_profile("hwsim", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("hwsim")


@pytest.fixture(scope="session", autouse=True)
def _fresh_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Builds of this session are fresh, and shared by all of its tests and processes."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    cache = session / "cache"
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    yield cache
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def _little_patience() -> Iterator[None]:
    """Hardware that hangs is found out quickly: these layers are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "PATIENCE_CYCLES", 500)
        yield
