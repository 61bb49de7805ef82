# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from paligemma_export import mask_decoder
from paligemma_export.errors import ExportError


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


@pytest.mark.parametrize(
    ("damage", "message"), [("missing", "missing decoder.12.bias"), ("shape", "has shape"), ("nan", "NaN")]
)
def test_damaged_files_are_named(tmp_path: Path, damage: str, message: str) -> None:
    path = tmp_path / "m.npz"
    mask_decoder.write_random(path, 3)
    arrays = dict(np.load(path))
    if damage == "missing":
        del arrays["decoder.12.bias"]
    elif damage == "shape":
        arrays["decoder.2.net.0.bias"] = arrays["decoder.2.net.0.bias"][:3]
    else:
        arrays["decoder.6.weight"][0] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(ExportError, match=message):
        mask_decoder.load(path)
