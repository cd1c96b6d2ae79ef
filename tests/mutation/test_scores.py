import pytest
from mutation.blocks import BLOCKS
from mutation.run import score

UNSETTLED = ("repacker", "control")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.unsettled if name in UNSETTLED else pytest.mark.slow)
        for name in BLOCKS
    ],
)
def test_the_default_tests_of_a_block_kill_its_mutants(name: str) -> None:
    result = score(BLOCKS[name]())
    assert result.mutants == 200
    # A mutant that is proven to be no change is none that a test could notice.
    different = result.mutants - len(result.equivalent)
    assert result.killed >= 0.95 * different, result.survivors
