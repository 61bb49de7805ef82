# SPDX-License-Identifier: Apache-2.0
"""PaliGemma 2 in NumPy and float64, written from the papers' definitions and from no implementation.

It shares no line with the exporter's modules and operators, so that a misreading would have to happen twice. Nothing is
cached: each token computes the whole sequence again, under the mask of a prefix that sees itself and a suffix that sees
what came before.

reference: semantics 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

Array = np.ndarray
ROWS = 256  # of queries at once: the scores of 4096 image tokens for all heads would not fit into memory


def gelu(x: Array) -> Array:
    """The tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cap(x: Array, limit: float) -> Array:
    """Soft-cap; 0 means none."""
    return limit * np.tanh(x / limit) if limit else x


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """Gemma's: a weight of 0 is a gain of 1."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (1 + weight)


def rotate(x: Array, positions: Array, theta: float) -> Array:
    """Rotary embedding of [T, heads, d] by halves."""
    half = x.shape[-1] // 2
    angles = positions[:, None, None] / theta ** (np.arange(half) * 2 / x.shape[-1])
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)], -1
    )


def attend(scores_of: Callable[[slice], Array], values: Array) -> Array:
    """What each query mixes of the values; `scores_of` gives the scores of some of the queries."""
    parts = (slice(start, start + ROWS) for start in range(0, len(values), ROWS))
    return np.concatenate([softmax(scores_of(rows)) @ values for rows in parts])


class Tensors:
    """The tensors of a checkpoint by name, widened as they are asked for: true widths in float64 need much memory."""

    def __init__(self, checkpoint: Path) -> None:
        files = (safe_open(file, "numpy") for file in sorted(checkpoint.glob("*.safetensors")))
        self._files = {name: file for file in files for name in file.keys()}  # noqa: SIM118 (no mapping)

    def __getitem__(self, name: str) -> Array:
        return self._files[name].get_tensor(name).astype(np.float64)

    def get(self, name: str) -> Array | None:
        """None where the checkpoint has none."""
        return self[name] if name in self._files else None


class NumpyModel:
    """A Hugging Face checkpoint with the numbers of its manifest."""

    def __init__(self, checkpoint: Path, numbers: dict[str, Any]) -> None:
        self.numbers = numbers
        self.tensors = Tensors(checkpoint)

    def _linear(self, x: Array, name: str) -> Array:
        y = x @ self.tensors[name + ".weight"].T
        bias = self.tensors.get(name + ".bias")
        return y if bias is None else y + bias

    def vision(self, pixels: Array) -> Array:
        """Bytes [S, S, 3] to soft tokens [N, hidden]."""
        v, name = self.numbers["vision"], "vision_tower.vision_model."
        side, count = v["patch"], pixels.shape[0] // v["patch"]
        x = (pixels / 255 - 0.5) / 0.5
        patches = x[: count * side, : count * side].reshape(count, side, count, side, 3).transpose(0, 2, 4, 1, 3)
        kernel = self.tensors[name + "embeddings.patch_embedding.weight"]
        h = patches.reshape(count * count, -1) @ kernel.reshape(len(kernel), -1).T
        h += self.tensors[name + "embeddings.patch_embedding.bias"]
        h += self.tensors[name + "embeddings.position_embedding.weight"]
        for layer in range(v["layers"]):
            own = f"{name}encoder.layers.{layer}."
            h = h + self._vision_attention(self._layer_norm(h, own + "layer_norm1"), own + "self_attn.")
            normed = self._layer_norm(h, own + "layer_norm2")
            h = h + self._linear(gelu(self._linear(normed, own + "mlp.fc1")), own + "mlp.fc2")
        return self._linear(self._layer_norm(h, name + "post_layernorm"), "multi_modal_projector.linear")

    def _layer_norm(self, x: Array, name: str) -> Array:
        tensors = self.tensors
        return layer_norm(x, tensors[name + ".weight"], tensors[name + ".bias"], self.numbers["vision"]["eps"])

    def _vision_attention(self, x: Array, name: str) -> Array:
        heads = self.numbers["vision"]["heads"]
        q, k, v = (self._linear(x, name + part).reshape(len(x), heads, -1) for part in ("q_proj", "k_proj", "v_proj"))

        def mixed(head: int) -> Array:
            keys, scale = k[:, head].T, np.sqrt(q.shape[-1])
            return attend(lambda rows: q[rows, head] @ keys / scale, v[:, head])

        return self._linear(np.concatenate([mixed(head) for head in range(heads)], -1), name + "out_proj")

    def states(self, image: Array, prompt: list[int], output: list[int]) -> list[Array]:
        """The embedding and what every layer leaves, [T, hidden] each."""
        numbers, tensors = self.numbers, self.tensors
        table = tensors["language_model.model.embed_tokens.weight"][: numbers["vocab"]]
        h = np.concatenate([image, table[prompt + output] * numbers["embed_scale"]])
        prefix = len(image) + len(prompt)
        states = [h]
        for layer in range(numbers["layers"]):
            own = f"language_model.model.layers.{layer}."
            mixed = self._attention(self._norm(h, own + "input_layernorm"), own + "self_attn.", prefix, layer)
            h = h + self._norm(mixed, own + "post_attention_layernorm")
            normed = self._norm(h, own + "pre_feedforward_layernorm")
            gated = gelu(self._linear(normed, own + "mlp.gate_proj")) * self._linear(normed, own + "mlp.up_proj")
            h = h + self._norm(self._linear(gated, own + "mlp.down_proj"), own + "post_feedforward_layernorm")
            states.append(h)
        return states

    def read_out(self, state: Array) -> tuple[Array, Array]:
        """Rows of the last layer's state -> the final norm's and the logits."""
        numbers, table = self.numbers, self.tensors["language_model.model.embed_tokens.weight"]
        normed = self._norm(state, "language_model.model.norm")
        return normed, cap(normed @ table[: numbers["vocab"]].T, numbers["final_softcap"])

    def logits(self, image: Array, prompt: list[int], output: list[int]) -> Array:
        """What follows soft tokens, prompt and output: [vocab]."""
        return self.read_out(self.states(image, prompt, output)[-1][-1:])[1][0]

    def _norm(self, x: Array, name: str) -> Array:
        return rms_norm(x, self.tensors[name + ".weight"], self.numbers["eps"])

    def _attention(self, x: Array, name: str, prefix: int, layer: int) -> Array:
        numbers, dim = self.numbers, self.numbers["head_dim"]
        at = np.arange(len(x))
        turned = at + numbers.get("first_position", 0)
        q, k, v = (self._linear(x, name + part).reshape(len(x), -1, dim) for part in ("q_proj", "k_proj", "v_proj"))
        q, k = (rotate(part, turned, numbers["rope_theta"]) for part in (q, k))
        group = numbers["heads"] // numbers["kv_heads"]
        seen = at[None, :] <= np.maximum(at, prefix - 1)[:, None]
        if window := numbers["windows"][layer]:
            seen &= (at[:, None] < prefix) | (at[None, :] > at[:, None] - window)

        def mixed(head: int) -> Array:
            keys, scale, limit = k[:, head // group].T, numbers["query_scale"], numbers["attention_softcap"]

            def scores(rows: slice) -> Array:
                return np.where(seen[rows], cap(q[rows, head] @ keys * scale, limit), -np.inf)

            return attend(scores, v[:, head // group])

        return self._linear(np.concatenate([mixed(head) for head in range(numbers["heads"])], -1), name + "o_proj")

    def generate(self, image: Array, prompt: list[int], limit: int, eos: int) -> list[int]:
        """Greedy tokens without EOS."""
        output: list[int] = []
        while len(output) < limit:
            token = int(self.logits(image, prompt, output).argmax())
            if token == eos:
                break
            output.append(token)
        return output
