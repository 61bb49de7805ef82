# SPDX-License-Identifier: Apache-2.0
"""Reference kernels: scalar goldens, quantised products, paged caches of every dtype, adapters, sampling."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from conftest import Tiny
from paligemma_export import bundle, kernels_decoder, kernels_sample, operators, quantization
from paligemma_export.bundle_source import BundleSource, load_module
from paligemma_export.errors import ExportError
from paligemma_export.runner import Runner

NONE = torch.empty(0)
NO_BITS = torch.empty(0, 0, dtype=torch.int32)


def test_operator_file_has_the_format_1_schemas() -> None:
    names = [schema.split("(")[0] for schema in operators.schemas()]
    decoder = ["embed", "rope", "attention", "mlp", "finish", "residual", "logits", "sample", "copy_blocks"]
    assert names == [*decoder, "patch_embed", "vision_attention", "vision_mlp", "project"]
    for name in names:
        assert callable(operators.kernel(name))


def test_scalar_goldens() -> None:
    norm = kernels_decoder.rms_norm(torch.tensor([1.0, -2, 3, -4]), torch.tensor([0, 0.5, -0.5, 1]), 1e-6)
    assert torch.allclose(norm, torch.tensor([0.3651483, -1.0954450, 0.5477225, -2.9211868]), atol=1e-6)
    rotation = kernels_decoder.rope(torch.tensor([3]), 4, 10000.0)
    rotated = kernels_decoder.apply_rope(torch.tensor([[[1.0, 2, 3, 4]]]), rotation).flatten()
    assert torch.allclose(rotated, torch.tensor([-1.4133525, 1.8791181, -2.8288575, 4.0581911]), atol=1e-5)


@pytest.mark.parametrize(
    ("encoding", "error"), [("bfloat16", 0.01), ("int8", 0.02), ("fp8", 0.06), ("int4", 0.1)]
)
def test_encodings_keep_the_product(encoding: str, error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(48, 96, generator=generator), torch.randn(5, 96, generator=generator)
    data, scale = quantization.encode(weight, encoding)
    shape, dtype, scale_shape = quantization.storage(encoding, 48, 96)
    assert (tuple(data.shape), data.dtype, tuple(scale.shape)) == (shape, dtype, scale_shape)
    assert scale.dtype == quantization.scale_dtype(encoding)
    exact, found = x @ weight.t(), quantization.linear(x, data, scale, NONE)
    assert (found - exact).norm() / exact.norm() < error
    assert (quantization.decode(data, scale) - weight).norm() / weight.norm() < error


def test_int4_reaches_the_largest_values_of_either_sign() -> None:
    for sign in (-1.0, 1.0):
        weight = sign * torch.tensor([[8.0, *[0.0] * 31]])
        data, scale = quantization.encode(weight, "int4")
        assert torch.equal(quantization.decode(data, scale), weight)
    nothing = quantization.decode(*quantization.encode(torch.zeros(2, 64), "int4"))
    assert torch.equal(nothing, torch.zeros(2, 64))


@pytest.mark.parametrize(
    ("encoding", "tower"), [("int8", None), ("fp8", None), ("int4", None), ("mixed", None), ("int8", "int8")]
)
def test_quantised_bundles_run(
    tinies: dict[str, Tiny], encoding: str, tower: str | None, tmp_path: Path
) -> None:
    tiny = tinies["tiny-b"]
    source = BundleSource(tiny.bundle, tiny.manifest)
    options = bundle.Options(name="q", quantization=encoding, vision_encoding=tower, languages=["en"], quiet=True)
    model = (tiny.bundle / "tokenizer.model").read_bytes()
    content = bundle.write(tmp_path / "q", source, model, options)
    assert content["quantization"] == encoding and content["recipe"]["vision"] == (tower or "bfloat16")
    vision = load_module(tmp_path / "q", "vision.pt")
    assert {tensor.dtype for name, tensor in vision.state_dict().items() if name.endswith(".data")} == {
        torch.int8 if tower == "int8" else torch.bfloat16
    }
    case = tiny.cases[0]
    runner = Runner.of_manifest(load_module(tmp_path / "q", "decoder.pt"), content)
    rows = tiny.vision(tiny.pixels[case["image"]])
    own_rows = vision(tiny.pixels[case["image"]])
    assert (own_rows - rows).norm() < (0.1 if tower == "int8" else 0.02) * rows.norm()
    answer = runner.generate(rows, case["prompt_ids"], 4, keep_logits=True)
    exact = tiny.runner().generate(rows, case["prompt_ids"], 1, keep_logits=True).logits[0]
    assert torch.nn.functional.cosine_similarity(answer.logits[0], exact, dim=0) > 0.7


def test_int4_refuses_odd_widths(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    tiny = tinies["tiny-a"]
    options = bundle.Options(name="q", quantization="int4", languages=["en"], quiet=True)
    source, model = BundleSource(tiny.bundle, tiny.manifest), (tiny.bundle / "tokenizer.model").read_bytes()
    with pytest.raises(ExportError, match="multiples of 32"):
        bundle.write(tmp_path / "q", source, model, options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8, torch.float8_e4m3fn])
def test_every_cache_dtype_runs(tinies: dict[str, Tiny], dtype: torch.dtype) -> None:
    tiny = tinies["tiny-a"]
    case = tiny.cases[0]
    rows = tiny.vision(tiny.pixels[case["image"]])
    answer = tiny.runner(kv_dtype=dtype).generate(rows, case["prompt_ids"], 3, keep_logits=True)
    assert all(bool(row.isfinite().all()) for row in answer.logits)


def test_padding_rows_give_zeros_and_write_nothing() -> None:
    kv = torch.zeros(1, 2, 2, 1, 4, 8)
    kernels_decoder.write_pages(kv, NONE, 0, 0, torch.tensor([-1, 5]), torch.ones(2, 1, 8))
    assert kv[0, 0, 1, 0, 1].sum() == 8 and kv.sum() == 8
    table, context = torch.zeros(1, 1, dtype=torch.int32), torch.tensor([0], dtype=torch.int32)
    result = kernels_decoder.attend_cached(torch.ones(1, 1, 8), kv, NONE, 0, table, context, 1.0, 0.0, 0)
    assert torch.equal(result, torch.zeros(1, 8))


def draw(logits: torch.Tensor, temperature: float, flags: int = 0, top: int = -1, **controls: int):
    names = ("top_k", "mask", "seen", "forced", "low", "high", "counter", "spare")
    settings = {
        "top_k": 0,
        "mask": -1,
        "seen": -1,
        "forced": -1,
        "low": 0,
        "high": 0,
        "counter": 0,
        "spare": 0,
    }
    settings |= controls
    masks = torch.tensor([[0b1010]], dtype=torch.int32)
    params = torch.tensor([[temperature, 1.0, 0.0, 1.0]])
    line = torch.tensor([[settings[name] for name in names]], dtype=torch.int32)
    size = logits.numel()
    return kernels_sample.sample(
        logits[None], torch.eye(size), NONE, NONE, size, 0.0, params, line, masks, NO_BITS, flags, top
    )


def test_sampling_rules() -> None:
    logits = torch.tensor([1.0, 2.0, 3.0, 2.0])
    assert draw(logits, 0)[0].tolist() == [2]
    assert draw(logits, 0, mask=0)[0].tolist() == [1], "ties go to the lowest id"
    assert draw(logits, 0, forced=3)[0].tolist() == [3]
    ids, logprob, top_ids, _ = draw(logits, 0, flags=1, top=2, mask=0)
    assert top_ids.tolist() == [[1, 3]] and math.isclose(float(logprob[0]), math.log(0.5), rel_tol=1e-5)


def test_noise_draws_the_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    counts = torch.zeros(3)
    for counter in range(3000):
        counts[draw(probabilities.log(), 1.0, counter=counter)[0]] += 1
    assert (counts / 3000 - probabilities).abs().max() < 0.03


def test_adapters_change_their_rows_only() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 1, 3, 8, generator=generator), torch.randn(2, 6, 3, generator=generator)
    x = torch.randn(3, 8, generator=generator)
    update = kernels_decoder.lora(x, a, b, torch.tensor([-1, 1, 0]), [0, 6])
    assert torch.equal(update[0], torch.zeros(6))
    assert torch.allclose(update[1], b[1] @ (a[1, 0] @ x[1]), atol=1e-5)
    assert torch.allclose(update[2], b[0] @ (a[0, 0] @ x[2]), atol=1e-5)
