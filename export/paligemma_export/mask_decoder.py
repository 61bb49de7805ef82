# SPDX-License-Identifier: Apache-2.0
"""The VQ-VAE decoder that turns 16 <seg> codes into a 64 x 64 mask: plain TorchScript, read from the published npz.

Channel counts are read from the shapes, so that reduced random ones load too.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paligemma_export.errors import ExportError

CODES, GRID = 128, 4
_UPSAMPLERS = ("decoder.4", "decoder.6", "decoder.8", "decoder.10")


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class MaskDecoder(nn.Module):
    """Turns codes int [m,16], row-major on a 4 x 4 grid, into f32 [m,64,64], nominally in [-1,1]. Positive is
    inside."""

    def __init__(self, width: int, channels: list[int]):
        """`width` is the codebook's; `channels` are those behind the first convolution and behind each of four
        upsamplings."""
        super().__init__()
        self.register_buffer("codebook", torch.zeros(CODES, width))
        first = channels[0]
        layers: list[nn.Module] = [
            nn.Conv2d(width, first, 1),
            nn.ReLU(),
            ResidualBlock(first),
            ResidualBlock(first),
        ]
        for before, after in zip(channels[:-1], channels[1:], strict=True):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(channels[-1], 1, 1))
        self.decoder = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        grid = self.codebook[codes.clamp(0, 127).long()].view(-1, 4, 4, self.codebook.size(1))
        return self.decoder(grid.permute(0, 3, 1, 2)).squeeze(1)


def expected_shapes(width: int, channels: list[int]) -> dict[str, tuple[int, ...]]:
    """Returns key and shape of every array of the npz that the decoder needs."""
    shapes: dict[str, tuple[int, ...]] = {"_vq_vae._embedding": (CODES, width)}
    for name, value in MaskDecoder(width, channels).decoder.state_dict().items():
        shapes[f"decoder.{name}"] = tuple(value.shape)
    return shapes


def load(path: Path) -> tuple[MaskDecoder, str]:
    """Reads the published layout; returns (module, sha256 of the file)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                key: archive[key]
                for key in archive.files
                if key.startswith("decoder.") or key == "_vq_vae._embedding"
            }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ExportError(f"mask decoder {path.name}: {str(error).splitlines()[0]}") from None
    except Exception as error:  # zipfile.BadZipFile and zlib.error share no base class
        raise ExportError(f"mask decoder {path.name}: not a readable npz ({type(error).__name__})") from None
    try:
        width = arrays["_vq_vae._embedding"].shape[1]
        channels = [arrays["decoder.0.weight"].shape[0]]
        channels += [arrays[f"{name}.weight"].shape[1] for name in _UPSAMPLERS]
    except (KeyError, IndexError) as error:
        raise ExportError(f"mask decoder {path.name}: missing or misshapen {error}") from None
    expected = expected_shapes(width, channels)
    for key in arrays:
        if key not in expected:
            raise ExportError(f"mask decoder {path.name}: unexpected {key}")
    for key, shape in expected.items():
        if key not in arrays:
            raise ExportError(f"mask decoder {path.name}: missing {key}")
        if arrays[key].shape != shape:
            raise ExportError(
                f"mask decoder {path.name}: {key} has shape {list(arrays[key].shape)}, expected {list(shape)}"
            )
        if not np.isfinite(arrays[key]).all():
            raise ExportError(f"mask decoder {path.name}: {key} holds NaN or infinity")
    module = MaskDecoder(width, channels)
    tensors = {key: torch.from_numpy(value.astype(np.float32)) for key, value in arrays.items()}
    module.codebook.copy_(tensors.pop("_vq_vae._embedding"))
    wanted = module.state_dict().keys()
    module.load_state_dict({"codebook": module.codebook, **{k: v for k, v in tensors.items() if k in wanted}})
    return module.eval().requires_grad_(False), hashlib.sha256(path.read_bytes()).hexdigest()


def write_random(
    path: Path, seed: int, width: int = 24, channels: tuple[int, ...] = (16, 16, 12, 8, 6)
) -> None:
    """Writes a random, reduced decoder in the published layout. Its masks have both signs."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for key, shape in expected_shapes(width, list(channels)).items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 25
        if key.split(".")[1] in ("4", "6", "8", "10") and len(shape) == 4:
            fan_in = shape[0] * 4  # four taps of a transposed convolution meet in each output
        arrays[key] = generator.normal(0, 1.4 / np.sqrt(fan_in), shape).astype(np.float32)
    module = MaskDecoder(width, list(channels))
    module.codebook.copy_(torch.from_numpy(arrays["_vq_vae._embedding"]))
    module.load_state_dict(
        {
            "codebook": module.codebook,
            **{k: torch.from_numpy(v) for k, v in arrays.items() if k != "_vq_vae._embedding"},
        }
    )
    codes = torch.from_numpy(generator.integers(0, CODES, (16, CODES // 8)))
    with torch.no_grad():
        output = module(codes)
    scale = 1.0 / float(output.std())
    arrays["decoder.12.weight"] *= scale
    arrays["decoder.12.bias"] = (arrays["decoder.12.bias"] - float(output.mean())).astype(np.float32) * scale
    np.savez(path, **arrays)
