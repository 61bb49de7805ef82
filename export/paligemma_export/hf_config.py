# SPDX-License-Identifier: Apache-2.0
"""config.json of a Hugging Face checkpoint as numbers of an architecture.

transformers writes only what differs from its own defaults, so every field may be absent; those defaults are the
numbers of the 3B (and of no published vision tower). A wrong default does not pass: the shapes of the tensors are
checked against the numbers afterwards.
"""

from __future__ import annotations

from typing import Any

from paligemma_export.architecture import Architecture, VisionArchitecture
from paligemma_export.errors import ExportError

Number = int | float
REAL_VOCABULARY = 257152


def architecture_of(config: Any, window_mode: str, final_softcap: float | None) -> Architecture:
    """The numbers of a config.json; `final_softcap` overrides its own. Raises ExportError with the field's name."""
    top = _Block("", config)
    text = top.block("text_config")
    kind = text.content.get("model_type") or "gemma2"
    if kind != "gemma2":
        raise ExportError(f"config.json: text_config.model_type is {kind!r}, only gemma2 (PaliGemma 2) is supported")
    rope = text.content.get("rope_parameters")
    rope_block = _Block("text_config.rope_parameters.", rope) if rope is not None else text
    layers = text.count("num_hidden_layers", 26)
    capped = text.softcap("final_logit_softcapping", 30.0) if final_softcap is None else final_softcap
    return Architecture(
        hidden=text.count("hidden_size", 2304),
        layers=layers,
        heads=text.count("num_attention_heads", 8),
        kv_heads=text.count("num_key_value_heads", 4),
        head_dim=text.count("head_dim", 256),
        intermediate=text.count("intermediate_size", 9216),
        vocab=_vocabulary(top),
        query_scale=text.number("query_pre_attn_scalar", 256) ** -0.5,
        attention_softcap=text.softcap("attn_logit_softcapping", 50.0),
        final_softcap=float(capped),
        eps=text.number("rms_norm_eps", 1e-6),
        rope_theta=float(rope_block.number("rope_theta", 10000.0)),
        max_positions=text.count("max_position_embeddings", 8192),
        sliding_window=text.count("sliding_window", 4096),
        sliding_layers=_sliding_layers(text, layers),
        window_mode=window_mode,
        vision=_vision(top),
    )


def _sliding_layers(text: _Block, layers: int) -> tuple[int, ...] | None:
    """The layers with a window; None for the usual ones."""
    types = text.content.get("layer_types")
    if types is None:
        return None
    known = ("sliding_attention", "full_attention")
    if not isinstance(types, list) or len(types) != layers or any(kind not in known for kind in types):
        raise ExportError(f"config.json: text_config.layer_types is not {layers} of {' and '.join(known)}")
    found = tuple(index for index, kind in enumerate(types) if kind == "sliding_attention")
    return None if found == tuple(range(0, layers, 2)) else found


def _vocabulary(top: _Block) -> int:
    """The image token is the first id behind the vocabulary."""
    name = "image_token_id" if "image_token_id" in top.content else "image_token_index"
    return top.count(name, REAL_VOCABULARY)


def _vision(top: _Block) -> VisionArchitecture:
    """The tower; without any vision_config it is the published one at 224 pixels, as in transformers."""
    if top.content.get("vision_config") is None:
        return VisionArchitecture()
    vision = top.block("vision_config")
    return VisionArchitecture(
        hidden=vision.count("hidden_size", 768),
        layers=vision.count("num_hidden_layers", 12),
        heads=vision.count("num_attention_heads", 12),
        intermediate=vision.count("intermediate_size", 3072),
        patch=vision.count("patch_size", 16),
        image_size=vision.count("image_size", 224),
        eps=vision.number("layer_norm_eps", 1e-6),
    )


class _Block:
    """An object of the file whose fields are read with their defaults; null counts as absent."""

    def __init__(self, where: str, content: Any):
        if not isinstance(content, dict):
            raise ExportError(f"config.json: {where.rstrip('.') or 'the whole'} is no object")
        self._where, self.content = where, content

    def block(self, name: str) -> _Block:
        if self.content.get(name) is None:
            raise ExportError(f"config.json: {self._where}{name} is missing")
        return _Block(f"{self._where}{name}.", self.content[name])

    def number(self, name: str, default: Number) -> Number:
        value = self.content.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ExportError(f"config.json: {self._where}{name} is {value!r}, not a positive number")
        return value

    def count(self, name: str, default: int) -> int:
        value = self.number(name, default)
        if not isinstance(value, int):
            raise ExportError(f"config.json: {self._where}{name} is {value!r}, not a whole number")
        return value

    def softcap(self, name: str, default: float) -> float:
        """null and 0 switch a soft-cap off; only an absent one has the default."""
        if name in self.content and not self.content[name]:
            return 0.0
        return float(self.number(name, default))
