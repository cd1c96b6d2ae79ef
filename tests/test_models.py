import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.errors import InputError
from hwsim.models import FAMILIES, ZOO, find_model, parse_config

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        # 4 h^2 and 2 x 4 h^2 a block
        ("bitnet-6.7b", 32 * 12 * 4096**2),
        ("bitnet-30b", 48 * 12 * 7168**2),
        ("bitnet-b1.58-7b", 32 * (4 * 4096**2 + 3 * 4096 * 11008)),
        # 2.08 G trit-MACs a token
        ("bitnet-b1.58-2b-4t", 30 * (2 * 2560**2 + 2 * 2560 * 640 + 3 * 2560 * 6912)),
        ("gemma-3-1b", 26 * (2 * 1152 * 1024 + 2 * 1152 * 256 + 3 * 1152 * 6912)),
        ("llama-3.2-1b", 16 * (2 * 2048**2 + 2 * 2048 * 512 + 3 * 2048 * 8192)),
    ],
)
def test_linear_weights(name: str, weights: int) -> None:
    assert ZOO[name].linear_weights == weights


@pytest.mark.parametrize(
    ("name", "parameters"),  # as the checkpoints' safetensors headers say
    [("llama-3.2-1b", 1_235_814_400), ("qwen2.5-1.5b", 1_543_714_304), ("gemma-3-1b", 999_885_952)],
)
def test_parameters_are_those_of_the_checkpoint(name: str, parameters: int) -> None:
    model = ZOO[name]
    total = model.linear_weights + model.embedding_weights + model.vector_parameters
    assert total == parameters


def test_linears_of_a_block() -> None:
    shapes = {linear[0]: linear[1:] for linear in ZOO["bitnet-b1.58-2b-4t"].linears}
    assert shapes == {
        "q": (2560, 2560),
        "k": (640, 2560),
        "v": (640, 2560),
        "o": (2560, 2560),
        "gate": (6912, 2560),
        "up": (6912, 2560),
        "down": (2560, 6912),
    }
    assert [linear.name for linear in ZOO["bitnet-125m"].linears] == [*"qkvo", "up", "down"]


class TestConfigJson:
    def test_llama_with_what_follows(self) -> None:
        model = parse_config(LLAMA, where="c")
        assert (model.kv_heads, model.head_dim, model.tied, model.gated) == (4, 16, False, True)
        assert model.activation == "silu"
        assert not model.ternary

    def test_explicit_head_dim_and_grouped_queries(self) -> None:
        more = {"head_dim": 32, "num_key_value_heads": 2, "tie_word_embeddings": True}
        model = parse_config({**LLAMA, **more}, where="c")
        assert (model.q_dim, model.kv_dim, model.tied) == (128, 64, True)

    def test_null_means_what_it_means_to_the_class(self) -> None:
        more = {"head_dim": None, "num_key_value_heads": None}
        model = parse_config({**LLAMA, **more}, where="c")
        assert (model.q_dim, model.kv_dim) == (64, 64)

    def test_gemma_3_with_images(self) -> None:
        text = {**LLAMA, "model_type": "gemma3_text", "num_key_value_heads": 1}
        model = parse_config({"model_type": "gemma3", "text_config": text}, where="c")
        assert (model.q_dim, model.kv_dim, model.tied) == (1024, 256, True)
        assert model.activation == "gelu"

    def test_opt_has_names_of_its_own(self) -> None:
        config = {
            "model_type": "opt",
            "hidden_size": 64,
            "ffn_dim": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 100,
            "max_position_embeddings": 30,
            "word_embed_proj_dim": 32,
            "activation_function": "relu",
        }
        model = parse_config(config, where="c")
        assert [linear.name for linear in model.linears] == ["q", "k", "v", "o", "up", "down"]
        assert model.tied
        assert model.embedding_weights == 100 * 32 + 32 * 64 + 2 * 32 * 64
        with pytest.raises(InputError, match="c: has no ffn_dim"):
            parse_config({**config, "ffn_dim": None}, where="c")

    def test_bitnet_is_ternary(self) -> None:
        model = parse_config(
            {**LLAMA, "model_type": "bitnet", "num_key_value_heads": 2, "hidden_act": "relu2"},
            where="c",
        )
        assert model.ternary
        assert model.inner_norms
        assert model.activation == "relu2"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"model_type": "mamba"},
                r"c: unknown architecture \(model_type 'mamba'\); known: llama",
            ),
            ({"model_type": None}, r"c: unknown architecture \(model_type None\)"),
            ({"model_type": ["llama"]}, "unknown architecture"),
            ({"model_type": "llava", "text_config": LLAMA}, "unknown architecture .*'llava'"),
            ({"num_local_experts": 8}, "c: num_local_experts: mixtures of experts"),
            ({"hidden_size": 0}, "c: hidden_size must be an integer of at least 1, not 0"),
            ({"hidden_size": 64.5}, "hidden_size must be an integer of at least 1, not 64.5"),
            ({"hidden_size": True}, "hidden_size must be an integer"),
            ({"vocab_size": None}, "c: has no vocab_size"),
            ({"hidden_size": 66}, "c: hidden_size 66 is not divisible by num_attention_heads 4"),
            ({"num_key_value_heads": 3}, "num_attention_heads 4 is not divisible by .* 3"),
            ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false, not 'no'"),
            ({"hidden_act": "sin"}, "unknown activation function 'sin'"),
        ],
    )
    def test_refuses_by_name(self, change, message: str) -> None:
        with pytest.raises(InputError, match=message):
            parse_config({**LLAMA, **change}, where="c")

    def test_files(self, tmp_path) -> None:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(LLAMA))
        assert find_model(file) == find_model(str(file))
        assert find_model(tmp_path).source == str(file)
        file.write_text("[1]")
        with pytest.raises(InputError, match=r"config.json: must hold an object"):
            find_model(file)
        file.write_text("{")
        with pytest.raises(InputError, match=r"config.json: not a JSON file"):
            find_model(file)
        with pytest.raises(InputError, match=r"absent.json: No such file"):
            find_model(tmp_path / "absent.json")
        with pytest.raises(
            InputError, match=r"'no-such-model': no such model, nor a file; known: b"
        ):
            find_model("no-such-model")

    @given(
        st.dictionaries(
            st.sampled_from([*LLAMA, "head_dim", "tie_word_embeddings", "num_experts"]),
            st.none() | st.booleans() | st.integers() | st.text("a\n") | st.lists(st.integers()),
        ),
        st.sampled_from(list(FAMILIES)),
    )
    def test_anything_gives_a_shape_or_one_line(self, changes, family: str) -> None:
        try:
            model = parse_config({**LLAMA, "model_type": family, **changes}, where="c")
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017  (either outcome is fine)
        else:
            assert model.linear_weights > 0
