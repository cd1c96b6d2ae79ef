import pytest
from mutation.blocks import BLOCKS
from mutation.run import score


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_default_tests_of_a_block_kill_its_mutants(name: str) -> None:
    result = score(BLOCKS[name]())
    assert result.mutants == 200
    # A mutant that is proven to be no change is none that a test could notice.
    different = result.mutants - len(result.equivalent)
    assert result.killed >= 0.95 * different, result.survivors
