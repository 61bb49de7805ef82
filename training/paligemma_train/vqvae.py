# SPDX-License-Identifier: Apache-2.0
"""The mask codec: 64 x 64 masks as 16 of 128 codes. Layout of the published npz with fewer channels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paligemma_train import checkpoint, worlds
from paligemma_train.feed import Feed

FILE, NPZ = "vqvae.pt", "mask-decoder.npz"
CODES, GRID, SIDE = 128, 4, 64
WIDTH, CHANNELS = 64, (48, 48, 32, 16, 8)
_DECAY, _DEAD = 0.97, 0.2


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class MaskCodec(nn.Module):
    """Encoder, codebook [128,W] kept as moving averages, decoder. Masks are f32 [m,1,64,64] in [-1,1]."""

    def __init__(self, width: int = WIDTH, channels: tuple[int, ...] = CHANNELS):
        super().__init__()
        down: list[nn.Module] = []
        for before, after in zip((1, *channels[:0:-1]), channels[:0:-1], strict=False):
            down += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        first = channels[0]
        self.encoder = nn.Sequential(*down, ResidualBlock(first), ResidualBlock(first), nn.Conv2d(first, width, 1))
        up: list[nn.Module] = [nn.Conv2d(width, first, 1), nn.ReLU(), ResidualBlock(first), ResidualBlock(first)]
        for before, after in zip(channels[:-1], channels[1:], strict=True):
            up += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*up, nn.Conv2d(channels[-1], 1, 1))
        self.register_buffer("codebook", torch.randn(CODES, width))
        self.register_buffer("sizes", torch.zeros(CODES))
        self.register_buffer("sums", torch.zeros(CODES, width))

    def nearest(self, encoded: Tensor) -> Tensor:
        """[n,W] -> code of each [n]."""
        return torch.cdist(encoded, self.codebook).argmin(1)

    def encode(self, masks: Tensor) -> Tensor:
        """-> codes [m,16], row-major."""
        encoded = self.encoder(masks).permute(0, 2, 3, 1)
        return self.nearest(encoded.flatten(0, 2)).view(-1, GRID * GRID)

    def decode(self, codes: Tensor) -> Tensor:
        """codes [m,16] -> f32 [m,64,64]; positive is inside."""
        grid = self.codebook[codes].view(-1, GRID, GRID, self.codebook.size(1))
        return self.decoder(grid.permute(0, 3, 1, 2)).squeeze(1)

    def forward(self, masks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> what comes back [m,1,64,64], the commitment loss, encoded vectors [n,W] and their codes [n]."""
        encoded = self.encoder(masks).permute(0, 2, 3, 1)
        flat = encoded.flatten(0, 2)
        codes = self.nearest(flat.detach())
        quantised = self.codebook[codes].view_as(encoded)
        commitment = F.mse_loss(encoded, quantised)
        passed = encoded + (quantised - encoded).detach()
        return self.decoder(passed.permute(0, 3, 1, 2)), commitment, flat.detach(), codes

    @torch.no_grad()
    def move_codebook(self, encoded: Tensor, codes: Tensor) -> None:
        """One step of the moving averages; codes that nothing uses start anew on an encoded vector."""
        chosen = F.one_hot(codes, CODES).float()
        self.sizes.mul_(_DECAY).add_(chosen.sum(0), alpha=1 - _DECAY)
        self.sums.mul_(_DECAY).add_(chosen.T @ encoded, alpha=1 - _DECAY)
        dead = self.sizes < _DEAD
        if dead.any():
            fresh = encoded[torch.randint(len(encoded), (int(dead.sum()),))]
            self.sizes[dead], self.sums[dead] = 1.0, fresh
        self.codebook.copy_(self.sums / self.sizes[:, None])


def to_input(masks: np.ndarray) -> Tensor:
    """uint8 [m,64,64] -> f32 [m,1,64,64] in [-1,1]."""
    return torch.tensor(masks).float()[:, None] / 127.5 - 1


def make_batch(stream: str, index: int, settings: dict[str, Any]) -> np.ndarray:
    """uint8 [m,64,64] of `scenes` rendered scenes; everyday subjects are as many as shapes."""
    masks = []
    for number in range(settings["scenes"]):
        rng = worlds.random_of(stream, index * settings["scenes"] + number)
        scene = worlds.render(rng, rng.choice(("geometric", "geometric", "everyday", "everyday")))
        masks += [scene.mask_crop(thing) for thing in scene.things]
    return np.stack(masks)


def iou(found: Tensor, truth: Tensor) -> Tensor:
    """bool [m,...] each -> [m]."""
    both, either = (found & truth).flatten(1).sum(1), (found | truth).flatten(1).sum(1)
    return both / either.clamp_min(1)


def train(work: Path, device: str, steps: int, rate: float = 1.5e-3, workers: int = 1, seed: int = 0,
          report_every: float = 30, stop_after: float = 1e9) -> None:
    """Trains to `steps`, resuming from work/vqvae.pt, and writes work/mask-decoder.npz."""
    torch.manual_seed(seed)
    codec = MaskCodec().to(device)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, weight_decay=1e-4)
    step, state = 0, checkpoint.load(work / FILE)
    if state is not None:
        codec.load_state_dict(state["codec"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    settings = {"scenes": 24}
    feed = Feed(make_batch, f"masks-{seed}", settings, workers, step)
    held_out = to_input(make_batch("held-out-masks", 0, {"scenes": 100})).to(device)
    clock, saver, began = checkpoint.Clock(report_every), checkpoint.Clock(120), time.monotonic()
    deadline = checkpoint.Deadline(stop_after)

    def save() -> None:
        checkpoint.save(work / FILE, {"codec": codec.state_dict(), "optimizer": optimizer.state_dict(), "step": step})
        write_npz(work / NPZ, codec)

    while step < steps and not deadline.passed():
        for group in optimizer.param_groups:
            group["lr"] = rate * max(0.05, 1 - step / steps)
        masks = to_input(feed.get()[1]).to(device)
        back, commitment, encoded, codes = codec(masks)
        loss = F.mse_loss(back, masks) + 0.25 * commitment
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        codec.move_codebook(encoded, codes)
        step += 1
        if clock.due() or step == steps:
            used = int((codec.sizes > 0.5).sum())
            print(f"masks: {time.monotonic() - began:.0f} s, step {step}, loss {loss.item():.4f}, "
                  f"held-out IoU {held_out_iou(codec, held_out):.4f}, {used} codes in use", flush=True)
        if saver.due():
            save()
    save()
    feed.close()


@torch.no_grad()
def held_out_iou(codec: MaskCodec, masks: Tensor) -> float:
    return iou(codec.decode(codec.encode(masks)) > 0, masks[:, 0] > 0).mean().item()


def load(work: Path) -> MaskCodec | None:
    state = checkpoint.load(work / FILE)
    if state is None:
        return None
    codec = MaskCodec()
    codec.load_state_dict(state["codec"])
    return codec.eval().requires_grad_(False)


def write_npz(path: Path, codec: MaskCodec) -> None:
    """The decoder in the published names and shapes."""
    arrays = {f"decoder.{name}": value.cpu().numpy() for name, value in codec.decoder.state_dict().items()}
    arrays["_vq_vae._embedding"] = codec.codebook.cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
