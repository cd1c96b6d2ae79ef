"""`Schedule`: the loops of one layer on one array. Pure arithmetic on shapes."""

from dataclasses import dataclass

from hwsim.activity import Activity, Cycles
from hwsim.config import ArrayConfig

START = 6
"""First cycle in which words are taken from the bus; the command is taken in cycle 0."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which tiles meet which tokens, in which order, and what that moves.

    Loops, outermost first: token block (`batch` tokens, the last may be short), row block (`rows`
    outputs), column block (`columns` inputs), token. Weights are streamed once per token block.

    Parameters
    ----------
    config
        The array.
    out_features, in_features, tokens
        Shape of the layer and its activations; each at least 1.
    """

    config: ArrayConfig
    out_features: int
    in_features: int
    tokens: int

    @property
    def token_blocks(self) -> int:
        """Times that all weights are streamed."""
        return -(-self.tokens // self.config.batch)

    @property
    def row_blocks(self) -> int:
        """Blocks of `rows` outputs."""
        return -(-self.out_features // self.config.rows)

    @property
    def column_blocks(self) -> int:
        """Blocks of `columns` inputs."""
        return -(-self.in_features // self.config.columns)

    @property
    def last_tokens(self) -> int:
        """Tokens of the last token block."""
        return self.tokens - (self.token_blocks - 1) * self.config.batch

    @property
    def last_rows(self) -> int:
        """Outputs of the last row block."""
        return self.out_features - (self.row_blocks - 1) * self.config.rows

    @property
    def command(self) -> tuple[int, int, int, int, int]:
        """The words of the command stream, the lowest first."""
        return (
            self.row_blocks,
            self.column_blocks,
            self.tokens,
            self.out_features,
            self.in_features,
        )

    @property
    def steps(self) -> int:
        """Cycles in which a tile meets a token."""
        return self.row_blocks * self.column_blocks * self.tokens

    @property
    def weight_tiles(self) -> int:
        """Tiles over the weight stream, all token blocks together."""
        return self.token_blocks * self.row_blocks * self.column_blocks

    @property
    def weight_words(self) -> int:
        """Words over the weight bus."""
        return self.weight_tiles * self.config.tile_words

    @property
    def token_activation_words(self) -> int:
        """Words of the activation bus that one token takes."""
        bits = self.in_features * self.config.activation_bits
        return -(-bits // self.config.activation_bus_bits)

    @property
    def activation_words(self) -> int:
        """Words over the activation bus."""
        return self.tokens * self.token_activation_words

    def result_words_of(self, rows: int) -> int:
        """Return the words of the result bus that `rows` results of one token take."""
        return -(-rows // self.config.results_per_word)

    @property
    def result_words(self) -> int:
        """Words over the result bus."""
        full = (self.row_blocks - 1) * self.result_words_of(self.config.rows)
        return self.tokens * (full + self.result_words_of(self.last_rows))

    def activity(self, cycles: Cycles, *, nonzero: int) -> Activity:
        """Return the counts of a run that took `cycles`.

        Parameters
        ----------
        cycles
            Measured or predicted.
        nonzero
            Weights of the layer that are not zero.
        """
        config = self.config
        macs = self.out_features * self.in_features * self.tokens
        word_bits = config.columns * config.activation_bits
        return Activity(
            cycles=cycles,
            macs=macs,
            nonzero_macs=nonzero * self.tokens,
            padded_macs=config.rows * config.columns * self.steps,
            weight_bits=self.weight_tiles * config.tile_bytes * 8,
            activation_bits=self.tokens * self.in_features * config.activation_bits,
            result_bits=self.tokens * self.out_features * config.result_bits,
            weight_words=self.weight_words,
            activation_words=self.activation_words,
            result_words=self.result_words,
            weight_tiles=self.weight_tiles,
            activation_buffer_write_bits=self.tokens * self.column_blocks * word_bits,
            activation_buffer_read_bits=self.steps * word_bits,
            accumulator_updates=config.rows * self.steps,
            scales=self.tokens * (self.in_features + self.out_features),
        )
