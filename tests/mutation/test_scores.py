import pytest
from mutation.blocks import BLOCKS
from mutation.run import score

LEAST = {"control": 0.9}
"""What a block's tests kill, if not 95 %: see docs/verification.md for what is missing."""


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_default_tests_of_a_block_kill_its_mutants(name: str) -> None:
    result = score(BLOCKS[name]())
    assert result.mutants == 200
    # A mutant that is proven to be no change is none that a test could notice.
    different = result.mutants - len(result.equivalent)
    assert result.killed >= LEAST.get(name, 0.95) * different, result.survivors
