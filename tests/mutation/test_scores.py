import pytest
from mutation.blocks import BLOCKS
from mutation.run import score


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_default_tests_of_a_block_kill_its_mutants(name: str) -> None:
    result = score(BLOCKS[name]())
    assert result.mutants == 200
    assert result.killed >= 0.95 * (result.killed + len(result.left)), result.left
