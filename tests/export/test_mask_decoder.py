# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from paligemma_export import mask_decoder


def test_transposed_convolution_golden() -> None:
    """x = [1, 2] under w = [1, 10, 100, 1000] gives [10, 102, 1020, 200]: kernel 4, stride 2, padding 1."""
    layer = torch.nn.ConvTranspose1d(1, 1, 4, stride=2, padding=1, bias=False)
    layer.weight.copy_(torch.tensor([[[1.0, 10, 100, 1000]]]))
    assert layer(torch.tensor([[[1.0, 2]]])).flatten().tolist() == [10, 102, 1020, 200]
    decoder = mask_decoder.MaskDecoder(4, [4, 4, 4, 4, 4])
    for part in decoder.decoder:
        if isinstance(part, torch.nn.ConvTranspose2d):
            assert (part.kernel_size, part.stride, part.padding) == ((4, 4), (2, 2), (1, 1))


def test_published_shapes_count_right() -> None:
    shapes = mask_decoder.expected_shapes(512, [128, 128, 64, 32, 16])
    weights = sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith("decoder."))
    assert weights == 1_123_457
    assert shapes["decoder.4.weight"] == (128, 128, 4, 4) and shapes["decoder.10.weight"] == (32, 16, 4, 4)


def test_scripted_decoder_takes_both_integer_types(tmp_path: Path) -> None:
    mask_decoder.write_random(tmp_path / "m.npz", 3)
    module, digest = mask_decoder.load(tmp_path / "m.npz")
    assert len(digest) == 64
    scripted = torch.jit.script(module)
    codes = torch.randint(0, 128, (3, 16), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    masks = scripted(codes)
    assert masks.shape == (3, 64, 64) and masks.dtype == torch.float32
    assert torch.equal(masks, scripted(codes.long()))
    assert 0.1 < float((masks > 0).float().mean()) < 0.9


def published_arrays() -> dict[str, np.ndarray]:
    """All 49 arrays of the published file, encoder and codebook statistics included."""
    shapes = mask_decoder.expected_shapes(512, [128, 128, 64, 32, 16])
    shapes |= {"_vq_vae._ema_cluster_size": (128,), "_vq_vae._ema_w": (128, 512)}
    channels = [1, 16, 32, 64, 128]
    for index, (before, after) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
        shapes |= {f"encoder.{2 * index}.weight": (after, before, 4, 4), f"encoder.{2 * index}.bias": (after,)}
    for block in (8, 9):
        for layer, kernel in ((0, 3), (2, 3), (4, 1)):
            name = f"encoder.{block}.net.{layer}"
            shapes |= {f"{name}.weight": (128, 128, kernel, kernel), f"{name}.bias": (128,)}
    shapes |= {"encoder.10.weight": (512, 128, 1, 1), "encoder.10.bias": (512,)}
    random = np.random.default_rng(1)
    return {name: random.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_published_layout_loads_with_its_encoder(tmp_path: Path) -> None:
    """An npz of these names and shapes has the published file's 8,479,556 bytes, so that they must be its own."""
    arrays = published_arrays()
    assert len(arrays) == 49 and sum(array.size for array in arrays.values()) == 2_116_593
    np.savez(tmp_path / "vae-oid.npz", **arrays)
    assert (tmp_path / "vae-oid.npz").stat().st_size == 8_479_556
    module, _ = mask_decoder.load(tmp_path / "vae-oid.npz")
    assert torch.equal(module.codebook, torch.from_numpy(arrays["_vq_vae._embedding"]))
    assert torch.equal(module.decoder[12].weight, torch.from_numpy(arrays["decoder.12.weight"]))
    assert module(torch.zeros(2, 16, dtype=torch.int32)).shape == (2, 64, 64)
