# SPDX-License-Identifier: Apache-2.0
"""A plain bundle as a source, so that it can be quantised without its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paligemma_export.architecture import Architecture, VisionArchitecture
from paligemma_export.errors import ExportError

_LAYER_NORMS = {
    "input_layernorm": "input_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "pre_mlp_norm",
    "post_feedforward_layernorm": "post_mlp_norm",
}


def architecture_of(content: dict[str, Any]) -> Architecture:
    """The numbers of a manifest."""
    block, image = content["architecture"], content["image"]
    vision = block["vision"]
    windows = [window for window in block["windows"] if window]
    sliding = tuple(layer for layer, window in enumerate(block["windows"]) if window)
    return Architecture(
        hidden=block["hidden"],
        layers=block["layers"],
        heads=block["heads"],
        kv_heads=block["kv_heads"],
        head_dim=block["head_dim"],
        intermediate=block["intermediate"],
        vocab=block["vocab"],
        query_scale=block["query_scale"],
        attention_softcap=block["attention_softcap"],
        final_softcap=block["final_softcap"],
        eps=block["eps"],
        rope_theta=block["rope_theta"],
        max_positions=block["max_positions"],
        first_position=block.get("first_position", 0),
        sliding_window=windows[0] if windows else 4096,
        sliding_layers=None if sliding == tuple(range(0, block["layers"], 2)) else sliding,
        window_mode=content["window_mode"],
        vision=VisionArchitecture(
            hidden=vision["hidden"],
            layers=vision["layers"],
            heads=vision["heads"],
            intermediate=vision["intermediate"],
            patch=vision["patch"],
            image_size=image["size"],
            eps=vision["eps"],
        ),
    )


def load_module(bundle: Path, name: str) -> nn.Module:
    """A module of a bundle, its tensors mapped."""
    import paligemma_export.operators  # noqa: F401  (declares torch.ops.paligemma)

    try:
        return torch.jit.load(str(bundle / name), _restore_shapes=False)
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"{bundle.name}/{name}: {str(error).strip().splitlines()[0]}") from None


class BundleSource:
    """Presents the modules' tensors under the canonical names of a checkpoint."""

    def __init__(self, bundle: Path, content: dict[str, Any]):
        self._bundle = bundle
        self.architecture, self.dtype = architecture_of(content), content["dtype"]
        self.description, self.digest = (
            content["provenance"]["source"],
            content["provenance"]["source_sha256"],
        )
        self._has_masks = "mask_decoder.pt" in content["files"]
        self._tensors = {
            **load_module(bundle, "decoder.pt").state_dict(),
            **{
                f"vision.{name}": value
                for name, value in load_module(bundle, "vision.pt").state_dict().items()
            },
        }

    def mask_decoder(self) -> nn.Module | None:
        return load_module(self._bundle, "mask_decoder.pt") if self._has_masks else None

    def tensor(self, name: str) -> Tensor:
        if name.startswith("language_model.layers."):
            return self._decoder_tensor(name)
        if name.startswith("vision_tower.encoder.layers."):
            return self._vision_tensor(name)
        vision = self.architecture.vision
        if name == "vision_tower.embeddings.patch_embedding.weight":
            flat = self._tensors["vision.patches.data"]
            return flat.view(vision.hidden, vision.patch, vision.patch, 3).permute(0, 3, 1, 2)
        return self._tensors[
            {
                "language_model.embed_tokens.weight": "embedding.data",
                "language_model.norm.weight": "norm",
                "multi_modal_projector.linear.weight": "vision.projector.data",
                "multi_modal_projector.linear.bias": "vision.projector_bias",
                "vision_tower.embeddings.patch_embedding.bias": "vision.patch_bias",
                "vision_tower.embeddings.position_embedding.weight": "vision.position",
                "vision_tower.post_layernorm.weight": "vision.norm",
                "vision_tower.post_layernorm.bias": "vision.norm_bias",
            }[name]
        ]

    def _decoder_tensor(self, name: str) -> Tensor:
        _, _, layer, *rest = name.split(".")
        numbers, prefix, kind = self.architecture, f"layers.{layer}.", rest[-2]
        if kind in _LAYER_NORMS:
            return self._tensors[prefix + _LAYER_NORMS[kind]]
        rows, keys, inner = numbers.query_rows, numbers.key_rows, numbers.intermediate
        matrix, start, stop = {
            "q_proj": ("qkv", 0, rows),
            "k_proj": ("qkv", rows, rows + keys),
            "v_proj": ("qkv", rows + keys, rows + 2 * keys),
            "o_proj": ("out", 0, numbers.hidden),
            "gate_proj": ("gate_up", 0, inner),
            "up_proj": ("gate_up", inner, 2 * inner),
            "down_proj": ("down", 0, numbers.hidden),
        }[kind]
        return self._tensors[f"{prefix}{matrix}.data"][start:stop]

    def _vision_tensor(self, name: str) -> Tensor:
        _, _, _, layer, *rest = name.split(".")
        prefix, kind, what = f"vision.layers.{layer}.", rest[-2], rest[-1]
        if kind.startswith("layer_norm"):
            return self._tensors[f"{prefix}norm{kind[-1]}" + ("_bias" if what == "bias" else "")]
        if kind in ("q_proj", "k_proj", "v_proj"):
            width = self.architecture.vision.hidden
            start = "qkv".index(kind[0]) * width
            tensor = self._tensors[prefix + ("qkv_bias" if what == "bias" else "qkv.data")]
            return tensor[start : start + width]
        matrix = {"out_proj": "out"}.get(kind, kind)
        return self._tensors[f"{prefix}{matrix}" + ("_bias" if what == "bias" else ".data")]
