"""Train the ternary transformer of `hwsim.adder`, measure it, and write its two files.

python examples/adder/train.py               # needs torch
python examples/adder/train.py --evaluate    # measures the shipped model again; numpy only
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from hwsim import trace
from hwsim.adder import (
    DIGITS,
    Adder,
    Floats,
    Integers,
    digits,
    held_out,
    held_out_questions,
    parse,
    prompts,
    reference,
)
from hwsim.encoding import ENCODINGS
from hwsim.files import write_atomically
from hwsim.layer import Layer

if TYPE_CHECKING:
    from torch import Tensor

SEED = 1
WIDTH, FFN, HEADS, BLOCKS = 120, 360, 4, 2
STEPS, BATCH, LEARNING_RATE, WARMUP = 2000, 128, 2e-3, 100
PROMPT, ANSWER = 2 * DIGITS + 2, DIGITS + 1
TRACE_TOKENS = 32
THREADS = 1  # was the faster setting while other programs used the cores
DATA = Path(str(resources.files("hwsim.data")))


def training_sums(rng: np.random.Generator, count: int) -> tuple[Integers, Integers]:
    """Draw operands, none held out: half uniform, a quarter short, a quarter with long carries."""
    first, second = rng.integers(0, 10**DIGITS, (2, 2 * count))
    kind = rng.integers(0, 4, 2 * count)
    first, second = (
        np.where(kind == 2, x // 10 ** rng.integers(0, DIGITS, 2 * count), x)
        for x in (first, second)
    )
    # Places whose digits sum to nine hand a carry on.
    nines = (kind == 3)[:, None] & (rng.random((2 * count, DIGITS)) < 0.7)
    places = np.where(nines, 9 - digits(first, DIGITS), digits(second, DIGITS))
    second = places @ 10 ** np.arange(DIGITS)
    kept = ~held_out(first, second)
    return first[kept][:count], second[kept][:count]


def long_carry_questions(count: int, seed: int) -> list[str]:
    """Draw held-out sums whose carry runs from the lowest digit through all five places."""
    rng = np.random.default_rng(seed)
    excess = rng.integers(0, 9, 40 * count)
    first = 10 * rng.integers(0, 10 ** (DIGITS - 1), 40 * count) + rng.integers(excess + 1, 10)
    second = 10**DIGITS + excess - first
    kept = held_out(first, second)
    return [f"{a}+{b}" for a, b in zip(first[kept][:count], second[kept][:count], strict=True)]


def train(steps: int) -> tuple[dict[str, Floats], list[str]]:
    """Train the model; return its parameters and the names of the linear layers among them."""
    import torch
    from torch import nn
    from torch.nn import functional

    class StraightThrough(torch.autograd.Function):
        """Round to a multiple of `step` within `low` and `high` of them; gradients pass as is."""

        @staticmethod
        def forward(_: Any, x: "Tensor", step: "Tensor", low: int, high: int) -> "Tensor":
            return (x / step).round_().clamp_(low, high).mul_(step)

        @staticmethod
        def backward(_: Any, *gradients: "Tensor") -> tuple["Tensor", None, None, None]:
            return gradients[0], None, None, None

    def quantized(x: "Tensor") -> "Tensor":
        """Normalize tokens and round them to int8."""
        x = functional.rms_norm(x, x.shape[-1:], eps=1e-5)
        step = x.detach().abs().amax(-1, keepdim=True).clamp_(min=1e-5) / 127
        return StraightThrough.apply(x, step, -128, 127)

    class Ternary(nn.Linear):
        """A linear layer whose weights are rounded to trits; it expects quantized tokens."""

        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(inputs, outputs, bias=False)

        def forward(self, x: "Tensor") -> "Tensor":
            step = self.weight.detach().abs().mean().clamp_(min=1e-5)
            return functional.linear(x, StraightThrough.apply(self.weight, step, -1, 1))

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (Ternary(WIDTH, WIDTH) for _ in range(4))

        def forward(self, x: "Tensor", last: int) -> "Tensor":
            x = quantized(x)
            q, k, v = (
                y.unflatten(-1, (HEADS, -1)).transpose(1, 2)
                for y in (self.q(x[:, -last:]), self.k(x), self.v(x))
            )
            seen = torch.ones(last, x.shape[1], dtype=torch.bool).tril(x.shape[1] - last)
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            return self.o(quantized(y.transpose(1, 2).flatten(2)))

    class FeedForward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = Ternary(WIDTH, FFN), Ternary(FFN, WIDTH)

        def forward(self, x: "Tensor") -> "Tensor":
            return self.down(quantized(self.up(quantized(x)).relu().square()))

    class Block(nn.Module):
        """Attention and feed-forward; only the `last` tokens come out."""

        def __init__(self) -> None:
            super().__init__()
            self.attention, self.ffn = Attention(), FeedForward()

        def forward(self, x: "Tensor", last: int) -> "Tensor":
            x = x[:, -last:] + self.attention(x, last)
            return x + self.ffn(x)

    class Model(nn.Module):
        """From tokens, all but the answer's last, to scores of the answer's digits."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Parameter(0.5 * torch.randn(12, WIDTH))
            self.position = nn.Parameter(0.5 * torch.randn(PROMPT + DIGITS, WIDTH))
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.head = Ternary(WIDTH, 10)

        def forward(self, tokens: "Tensor") -> "Tensor":
            x = self.embedding[tokens] + self.position
            for block in self.blocks:
                x = block(x, ANSWER if block is self.blocks[-1] else x.shape[1])
            return self.head(quantized(x))

    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(SEED)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP, 1 - step / steps)
    )
    start = time.monotonic()
    for step in range(1, steps + 1):
        first, second = training_sums(rng, BATCH)
        answer = digits(first + second, ANSWER)
        target = torch.from_numpy(answer)
        tokens = np.hstack([prompts(first, second), answer[:, :-1]])
        scores = model(torch.from_numpy(tokens))
        loss = functional.cross_entropy(scores.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            exact = (scores.argmax(-1) == target).all(-1).double().mean().item()
            passed = time.monotonic() - start
            print(f"step {step:5} {passed:6.1f} s  loss {loss:.5f}  exact {exact:.4f}", flush=True)
    linear = [name for name, module in model.named_modules() if isinstance(module, Ternary)]
    parameters = {
        name.removesuffix(".weight"): parameter.detach().numpy()
        for name, parameter in model.named_parameters()
    }
    return parameters, linear


def quantize(name: str, latent: Floats) -> Layer:
    """Make a layer of latent weights, which are rounded to half precision first."""
    half = latent.astype(np.float16)
    weight = half.astype(np.float32)
    scale = np.maximum(np.abs(weight).mean(), np.float32(1e-5))
    trits = np.clip(np.rint(weight / scale), -1, 1).astype(np.int8)
    return Layer(name=name, weight=trits, weight_scale=float(scale), weight_latent=half)


def write_model(path: Path, adder: Adder) -> None:
    """Write the packed model, as `Adder.load` reads it."""
    tensors: dict[str, NDArray[Any]] = {
        "embedding": adder.embedding,
        "position": adder.position,
    }
    metadata = {"format": "hwsim-adder", "version": "1", "heads": str(adder.heads)}
    for name, layer in adder.layers.items():
        tensors[f"{name}.weight_packed"] = ENCODINGS["base3"].pack(layer.weight)
        tensors[f"{name}.weight_scale"] = np.array([layer.weight_scale], np.float32)
        metadata[f"{name}.in_features"] = str(layer.in_features)
    write_atomically(path, save(tensors, metadata))


def write_trace(path: Path, adder: Adder) -> None:
    """Write what goes through every linear layer while held-out sums are answered."""
    activations: dict[str, list[NDArray[Any]]] = defaultdict(list)
    scales: dict[str, list[NDArray[Any]]] = defaultdict(list)

    def record(layer: Layer) -> NDArray[np.int32]:
        assert layer.activation is not None
        assert layer.activation_scale is not None
        activations[layer.name].append(layer.activation)
        scales[layer.name].append(layer.activation_scale)
        return reference(layer)

    for question in held_out_questions(-(-TRACE_TOKENS // ANSWER), SEED):
        adder.answer(question, record)
    layers = [
        Layer(
            name=name,
            weight=layer.weight,
            weight_scale=layer.weight_scale,
            activation=np.concatenate(activations[name]),
            activation_scale=np.concatenate(scales[name]),
            weight_latent=layer.weight_latent,
        ).take(TRACE_TOKENS)
        for name, layer in adder.layers.items()
    ]
    trace.write(path, layers, model="hwsim adder", source="examples/adder/train.py")


def evaluate(adder: Adder) -> None:
    """Print how many held-out sums come out exactly right, and the share of zero trits."""

    def measure(what: str, questions: Sequence[str]) -> None:
        start = time.monotonic()
        answers = adder.answers(questions)
        wrong = [q for q, answer in zip(questions, answers, strict=True) if answer != sum(parse(q))]
        right = len(questions) - len(wrong)
        print(
            f"{what}: {right} of {len(questions)} right, {right / len(questions):.3%} "
            f"({time.monotonic() - start:.0f} s); wrong: {', '.join(wrong[:5]) or 'none'}"
        )

    measure("held-out sums", held_out_questions(10_000, SEED + 1))
    measure("held-out sums with a carry through all places", long_carry_questions(2_000, SEED + 2))
    print("\n| layer | out x in | zero trits |\n|---|---|---|")
    for name, layer in adder.layers.items():
        shape = f"{layer.out_features} x {layer.in_features}"
        print(f"| {name} | {shape} | {layer.zero_fraction:.1%} |")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--evaluate", action="store_true", help="measure the shipped model only")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the two files")
    arguments = parser.parse_args()
    if arguments.evaluate:
        evaluate(Adder.load())
        return
    start = time.monotonic()
    parameters, linear = train(arguments.steps)
    print(f"trained {arguments.steps} steps in {time.monotonic() - start:.0f} s")
    layers = {name: quantize(name, parameters.pop(name)) for name in linear}
    adder = Adder(HEADS, layers, **parameters)
    write_model(arguments.out / "adder.safetensors", adder)
    write_trace(arguments.out / "adder-trace.safetensors", adder)
    evaluate(adder)


if __name__ == "__main__":
    main()
