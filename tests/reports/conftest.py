import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from hwsim import trace
from hwsim.config import preset
from hwsim.engines import Run
from hwsim.predict import predict
from hwsim.reports import Inputs
from hwsim.results import describe

HOSTILE = "<script>document.title='taken'</script>\"'&<b>x"


@pytest.fixture(scope="session")
def run() -> dict[str, Any]:
    """What `simulate --json` writes for the shipped layer, from the prediction, which is equal."""
    with resources.as_file(resources.files("hwsim.data") / "adder-trace.safetensors") as file:
        layer = trace.read(file).layer("blocks.0.ffn.up")
    array = preset("default-16x16")
    activity = predict(
        array,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
        nonzero=int((layer.weight != 0).sum()),
    )
    found = Run(outputs=layer.weight, activity=activity, engine_s=0.0)
    return describe(layer, array, "rtl", found, stalled=False)


@pytest.fixture(scope="session")
def inputs(run: dict[str, Any]) -> Inputs:
    return Inputs(run=run)


@pytest.fixture(scope="session")
def page(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything, in a folder."""
    from hwsim.reports.folder import make, write

    folder = tmp_path_factory.mktemp("report")
    write(folder, make(inputs))
    return folder


@pytest.fixture
def hostile_model(tmp_path: Path) -> str:
    """A model whose file, and so whose name, is HTML."""
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 100,
    }
    path = tmp_path / (HOSTILE.replace("/", "\u2215") + ".json")
    path.write_text(json.dumps(config))
    return str(path)
