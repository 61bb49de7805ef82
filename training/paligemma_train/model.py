# SPDX-License-Identifier: Apache-2.0
"""PaliGemma 2 in plain PyTorch for training: names and arithmetic of the Hugging Face layout, so that a state dict
is a checkpoint. B rows, T positions, N image tokens, H width; everything is prefix-LM, right-padded.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """The numbers of `config.json`. The defaults are the demo model."""

    vocab: int = 1984
    hidden: int = 192
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 48
    intermediate: int = 512
    query_pre_attn_scalar: int = 48
    attention_softcap: float = 50.0
    final_softcap: float = 30.0
    eps: float = 1e-6
    rope_theta: float = 10000.0
    vision_hidden: int = 160
    vision_layers: int = 6
    vision_heads: int = 4
    vision_intermediate: int = 480
    patch: int = 14
    image_size: int = 112

    @property
    def grid(self) -> int:
        return self.image_size // self.patch

    @property
    def image_tokens(self) -> int:
        return self.grid**2

    @property
    def reading_layer(self) -> int:
        """The index of the decoder layer that is taught where the next character of a text stands."""
        return self.layers // 2

    def replace(self, **changes: object) -> Config:
        return dataclasses.replace(self, **changes)


class VisionAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer in (self.q_proj, self.k_proj, self.v_proj))
        # Plain products are quicker here: on a CPU the backward pass of scaled_dot_product_attention takes a third of
        # the whole step.
        scores = (q * q.size(-1)**-0.5) @ k.transpose(-1, -2)
        mixed = torch.softmax(scores.float(), -1).to(v.dtype) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class VisionMlp(nn.Module):
    def __init__(self, width: int, intermediate: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, intermediate), nn.Linear(intermediate, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        width = config.vision_hidden
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, config.eps), nn.LayerNorm(width, config.eps)
        self.self_attn = VisionAttention(width, config.vision_heads)
        self.mlp = VisionMlp(width, config.vision_intermediate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionTower(nn.Module):
    """SigLIP without its pooling head: pixels uint8 [B,S,S,3] -> [B,N,W] after the last norm."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.vision_hidden
        self.patch = config.patch
        self.embeddings = nn.Module()
        self.embeddings.patch_embedding = nn.Conv2d(3, width, config.patch, config.patch)
        self.embeddings.position_embedding = nn.Embedding(config.image_tokens, width)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.vision_layers))
        self.post_layernorm = nn.LayerNorm(width, config.eps)
        nn.init.normal_(self.embeddings.position_embedding.weight, std=0.1)

    def forward(self, pixels: Tensor) -> Tensor:
        batch, side = pixels.shape[:2]
        grid, patch = side // self.patch, self.patch
        x = pixels.float() / 127.5 - 1
        x = x.view(batch, grid, patch, grid, patch, 3).permute(0, 1, 3, 5, 2, 4).reshape(batch, grid * grid, -1)
        kernel = self.embeddings.patch_embedding
        x = F.linear(x, kernel.weight.flatten(1), kernel.bias) + self.embeddings.position_embedding.weight
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


class RmsNorm(nn.Module):
    """Gemma's: x / rms(x) * (1 + weight), in float32."""

    def __init__(self, width: int, eps: float, start: float = 0.0):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight.float())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B,heads,T,D] by split halves; cos and sin [T,D/2]."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        rows, columns = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden, rows, bias=False)
        self.k_proj = nn.Linear(config.hidden, columns, bias=False)
        self.v_proj = nn.Linear(config.hidden, columns, bias=False)
        self.o_proj = nn.Linear(rows, config.hidden, bias=False)

    def _heads(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x).unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)

    def keys_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        return rotate(self._heads(self.k_proj, x), cos, sin), self._heads(self.v_proj, x)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor | None,
                cache: list[Tensor] | None = None, weights_out: list[Tensor] | None = None) -> Tensor:
        """Adds bias [B,1,1,T,K] to the capped scores. Reads a cache [k, v] and extends it in place. Appends the
        attention weights [B,kv,group,T,K] to `weights_out` if it is given."""
        config = self.config
        q = rotate(self._heads(self.q_proj, x), cos, sin)
        k, v = self.keys_values(x, cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        group = config.heads // config.kv_heads
        q = (q * config.query_pre_attn_scalar**-0.5).unflatten(1, (config.kv_heads, group))
        scores = q @ k.unsqueeze(2).transpose(-1, -2)  # [B,kv,group,T,K]
        if config.attention_softcap:
            scores = torch.tanh(scores / config.attention_softcap) * config.attention_softcap
        if bias is not None:
            scores = scores + bias
        weights = torch.softmax(scores.float(), -1)
        if weights_out is not None:
            weights_out.append(weights)
        mixed = weights.to(v.dtype) @ v.unsqueeze(2)
        return self.o_proj(mixed.flatten(1, 2).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.down_proj = nn.Linear(config.intermediate, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), Mlp(config)
        self.input_layernorm = RmsNorm(config.hidden, config.eps)
        self.pre_feedforward_layernorm = RmsNorm(config.hidden, config.eps)
        self.post_attention_layernorm = RmsNorm(config.hidden, config.eps, -0.5)
        self.post_feedforward_layernorm = RmsNorm(config.hidden, config.eps, -0.5)

    def forward(self, h: Tensor, cos: Tensor, sin: Tensor, bias: Tensor | None,
                cache: list[Tensor] | None = None, weights_out: list[Tensor] | None = None) -> Tensor:
        mixed = self.self_attn(self.input_layernorm(h), cos, sin, bias, cache, weights_out)
        h = h + self.post_attention_layernorm(mixed)
        return h + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(h)))


class LanguageModel(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.hidden, config.eps)
        nn.init.normal_(self.embed_tokens.weight, std=config.hidden**-0.5)


class PaliGemma(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.vision_tower = VisionTower(config)
        self.multi_modal_projector = nn.Module()
        self.multi_modal_projector.linear = nn.Linear(config.vision_hidden, config.hidden)
        self.language_model = LanguageModel(config)
        nn.init.normal_(self.multi_modal_projector.linear.weight, std=config.vision_hidden**-0.5)
        half = torch.arange(0, config.head_dim, 2) / config.head_dim
        self.register_buffer("frequencies", 1.0 / (config.rope_theta**half), persistent=False)

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels uint8 [B,S,S,3] -> the tower's output [B,N,W] and the image rows [B,N,H], which are not scaled."""
        features = self.vision_tower(pixels)
        return features, self.project(features)

    def project(self, features: Tensor) -> Tensor:
        return self.multi_modal_projector.linear(features)

    def embed(self, ids: Tensor) -> Tensor:
        return self.language_model.embed_tokens(ids) * math.sqrt(self.config.hidden)

    def rotation(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin [length,D/2] of the positions from `start` on."""
        positions = torch.arange(start, start + length, device=self.frequencies.device)
        angles = positions[:, None] * self.frequencies
        return angles.cos(), angles.sin()

    def hidden(self, image_rows: Tensor, ids: Tensor, prefix: Tensor,
               caches: list[list[Tensor]] | None = None) -> Tensor:
        """image_rows [B,N,H], ids [B,T] (bos, prompt, newline, answer, padding), prefix [B]: ids of the prompt
        -> [B,T,H] after the final norm, of the text positions."""
        h = torch.cat((image_rows.float(), self.embed(ids).float()), 1)
        images, length = image_rows.size(1), h.size(1)
        bias = prefix_bias(prefix + images, length)
        cos, sin = self.rotation(0, length)
        for index, layer in enumerate(self.language_model.layers):
            h = layer(h, cos, sin, bias, caches[index] if caches is not None else None)
        return self.language_model.norm(h[:, images:])

    def image_caches(self, image_rows: Tensor) -> list[list[Tensor]]:
        """Returns keys and values [P,kv,N,D] of every layer for pictures, computed without a prompt."""
        h, caches = image_rows.float(), []
        cos, sin = self.rotation(0, h.size(1))
        for layer in self.language_model.layers:
            caches.append(list(layer.self_attn.keys_values(layer.input_layernorm(h), cos, sin)))
            if len(caches) < len(self.language_model.layers):
                h = layer(h, cos, sin, None)
        return caches

    def hidden_with_caches(self, caches: list[list[Tensor]], picture: Tensor, ids: Tensor,
                     prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `hidden` returns, but the image rows of `picture` [R] do not attend to the prompt, so that many
        prompts share them. The server computes the image rows with the prompt; learning this way costs a third to a
        quarter of that and transfers. Also returns the attention weights of the reading layer [R,kv,group,T,N+T]."""
        h = self.embed(ids).float()
        images, length = caches[0][0].size(2), h.size(1)
        bias = F.pad(prefix_bias(prefix, length), (images, 0))
        cos, sin = self.rotation(images, length)
        attention: list[Tensor] = []
        for index, (layer, cache) in enumerate(zip(self.language_model.layers, caches, strict=True)):
            reads = index == self.config.reading_layer
            h = layer(h, cos, sin, bias, [part[picture] for part in cache], attention if reads else None)
        return self.language_model.norm(h), attention[0]

    def step(self, ids: Tensor, position: int, bias: Tensor | None, caches: list[list[Tensor]]) -> Tensor:
        """One more token for every row: ids [B,1] -> [B,1,H]."""
        h = self.embed(ids).float()
        cos, sin = self.rotation(position, 1)
        for layer, cache in zip(self.language_model.layers, caches, strict=True):
            h = layer(h, cos, sin, bias, cache)
        return self.language_model.norm(h)

    def logits(self, hidden: Tensor) -> Tensor:
        raw = F.linear(hidden, self.language_model.embed_tokens.weight).float()
        cap = self.config.final_softcap
        return torch.tanh(raw / cap) * cap if cap else raw


def prefix_bias(prefix: Tensor, length: int) -> Tensor:
    """prefix [B] -> [B,1,1,T,T]: 0 where key k may be seen by query q (k < prefix or k <= q), else a large negative."""
    position = torch.arange(length, device=prefix.device)
    allowed = (position[None, None, :] <= position[None, :, None]) | (position[None, None, :] < prefix[:, None, None])
    return torch.zeros(allowed.shape, device=prefix.device).masked_fill_(~allowed, -1e9)[:, None, None]


def resized_positions(table: Tensor, grid: int) -> Tensor:
    """Position embeddings [n*n,W] of one resolution -> [grid*grid,W] of another, interpolated over the picture, so that
    a patch begins with the position that its place had before."""
    side = math.isqrt(table.size(0))
    image = table.T.reshape(1, table.size(1), side, side)
    return F.interpolate(image, size=(grid, grid), mode="bicubic").flatten(2)[0].T.contiguous()


CURVE = 32  # dimensions of the curve on which coordinates begin
_LOUD = 1.5  # norm of a coordinate's embedding relative to other tokens', so that neighbours differ from the start


def location_curve(places: Tensor) -> Tensor:
    """places [n] of 0 to 1 -> [n,CURVE], a smooth curve of length sqrt(CURVE / 2) everywhere, on which near places are
    alike."""
    waves = 2 ** torch.linspace(-1, 5.5, CURVE // 2, device=places.device) * math.pi
    angles = places[:, None] * waves
    return torch.cat((torch.sin(angles), torch.cos(angles)), 1)


@torch.no_grad()
def smooth_locations(model: PaliGemma, first: int, count: int = 1024) -> None:
    """Starts the coordinate embeddings on the curve, so that neighbouring bins are alike from the beginning."""
    table = model.language_model.embed_tokens.weight
    curve = location_curve(torch.arange(count) / count)
    table[first:first + count, :CURVE] = curve * (_LOUD * (2 / CURVE) ** 0.5)
    table[first:first + count, CURVE:] *= 0.1
