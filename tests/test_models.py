import json
from typing import Any

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


SMALL = {
    "hidden_size": 96,
    "num_attention_heads": 8,
    "intermediate_size": 200,
    "num_hidden_layers": 3,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    ("family", "changes", "linear", "total"),
    # As counted in what AutoModelForCausalLM.from_config of transformers 5.24 makes of
    # CONFIG_MAPPING[family](**SMALL, **changes), under torch.device("meta"): weights of all
    # nn.Linear but the head and OPT's projections of embeddings; all parameters, tied ones once.
    [
        (
            "llama",
            {"num_key_value_heads": 2, "head_dim": 20, "attention_bias": True, "mlp_bias": True},
            288_000,
            314_208,
        ),
        ("mistral", {"num_key_value_heads": 4, "head_dim": 10}, 241_920, 265_632),
        (
            "granite",
            {"num_key_value_heads": 2, "attention_bias": True, "tie_word_embeddings": True},
            241_920,
            254_832,
        ),
        ("phi3", {"num_key_value_heads": 4}, 255_744, 279_456),
        ("smollm3", {"num_key_value_heads": 2, "mlp_bias": True}, 241_920, 255_600),
        (
            "seed_oss",
            {"num_key_value_heads": 2, "head_dim": None, "attention_out_bias": True},
            241_920,
            266_352,
        ),
        ("qwen2", {"num_key_value_heads": 4, "tie_word_embeddings": True}, 255_744, 268_512),
        ("qwen3", {"num_key_value_heads": 2, "attention_bias": True}, 910_080, 939_456),
        ("gemma", {"num_key_value_heads": 1, "attention_bias": True}, 1_499_904, 1_520_064),
        (
            "gemma2",
            {"num_key_value_heads": 4, "head_dim": 12, "tie_word_embeddings": False},
            255_744,
            280_032,
        ),
        ("gemma3_text", {"num_key_value_heads": 1}, 1_499_904, 1_514_208),
        ("olmo2", {"num_key_value_heads": 2, "attention_bias": True}, 241_920, 266_712),
        ("olmo3", {}, 283_392, 307_680),
        ("bitnet", {"num_key_value_heads": 4, "tie_word_embeddings": True}, 255_744, 268_824),
        ("opt", {"word_embed_proj_dim": 40, "enable_bias": False}, 225_792, 245_952),
        ("gpt_neox", {"attention_bias": False}, 225_792, 251_064),
        ("phi", {"num_key_value_heads": 2}, 184_320, 209_856),
        ("starcoder2", {"use_bias": False}, 184_320, 197_184),
        (
            "nemotron",
            {"num_key_value_heads": 4, "attention_bias": True, "head_dim": 24},
            281_088,
            306_912,
        ),
        ("arcee", {"num_key_value_heads": 4, "head_dim": 20, "mlp_bias": True}, 253_440, 278_040),
    ],
)
def test_parameters_are_those_that_transformers_makes(
    family: str, changes: dict[str, Any], linear: int, total: int
) -> None:
    config = {"model_type": family, **SMALL, **changes}
    if family == "opt":
        config["ffn_dim"] = config.pop("intermediate_size")
    model = parse_config(config, where="c")
    head = 0 if model.tied else model.head_weights
    assert model.linear_weights == linear
    assert linear + model.embedding_weights + model.vector_parameters + head == total


def test_keys_that_a_class_does_not_know_are_not_read() -> None:
    more = {"num_key_value_heads": 2, "head_dim": 8}
    for family, ffn in (("opt", "ffn_dim"), ("gpt_neox", "intermediate_size")):
        config = {"model_type": family, **SMALL, ffn: 200}
        with_more = parse_config({**config, **more}, where="c")
        assert with_more == parse_config(config, where="c")
        assert with_more.kv_dim == 96


def test_a_text_config_says_only_what_differs_from_its_class() -> None:
    """As in google/gemma-3-4b-it: heads and vocabulary are those of the class."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
    }
    model = parse_config({"model_type": "gemma3", "text_config": text}, where="c")
    assert (model.heads, model.kv_heads, model.head_dim, model.vocab) == (8, 4, 256, 262_208)
    head = model.embedding_weights + model.vector_parameters
    assert model.linear_weights + head == 3_880_263_168  # without the vision tower


def test_quantized_to_ternary_weights_is_ternary() -> None:
    """As in tiiuae/Falcon3-7B-Instruct-1.58bit, which is a LLaMA."""
    config = {"model_type": "llama", **SMALL}
    assert not parse_config(config, where="c").ternary
    for method, is_ternary in (("bitnet", True), ("gptq", False)):
        quantized = {**config, "quantization_config": {"quant_method": method}}
        assert parse_config(quantized, where="c").ternary == is_ternary
    assert not parse_config({**config, "quantization_config": None}, where="c").ternary


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
        whole = {"model_type": "gemma3", "text_config": text, "tie_word_embeddings": False}
        assert not parse_config(whole, where="c").tied

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
            ({"hidden_size": 0}, "c: hidden_size must be an integer from 1 to .*, not 0"),
            ({"hidden_size": 64.5}, "hidden_size must be an integer from 1 to .*, not 64.5"),
            ({"hidden_size": True}, "hidden_size must be an integer"),
            ({"vocab_size": None}, "c: has no vocab_size"),
            ({"hidden_size": 66}, "c: hidden_size 66 is not divisible by num_attention_heads 4"),
            ({"num_key_value_heads": 3}, "num_attention_heads 4 is not divisible by .* 3"),
            ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false, not 'no'"),
            ({"hidden_act": "sin"}, "unknown activation function 'sin'"),
            ({"hidden_act": ["silu"]}, r"unknown activation function \['silu'\]"),
            ({"hidden_act": ["gelu"]}, r"unknown activation function \['gelu'\]"),
            (
                {"num_hidden_layers": -1},
                "num_hidden_layers must be an integer from 1 to .*, not -1",
            ),
            ({"num_hidden_layers": 2.0}, "num_hidden_layers must be an integer"),
            ({"num_hidden_layers": True}, "num_hidden_layers must be an integer"),
            ({"num_hidden_layers": float("nan")}, "num_hidden_layers must be an integer .*not nan"),
            ({"num_hidden_layers": 10**400}, "not one of astronomic size"),
            ({"mlp_bias": 3}, "mlp_bias must be true or false, not 3"),
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
        file.write_text('{"model_type": "llama", "hidden_size": 1' + 5000 * "0" + "}")
        with pytest.raises(InputError, match=r"config.json: not a JSON file: Exceeds the limit"):
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
            st.sampled_from(
                [*LLAMA, "head_dim", "tie_word_embeddings", "num_experts", "hidden_act"]
            ),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text("a\n")
            | st.lists(st.text()),
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
