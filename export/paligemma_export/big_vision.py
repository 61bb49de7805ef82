# SPDX-License-Identifier: Apache-2.0
"""big_vision checkpoints: one npz whose layers are stacked on axis 0 and whose matrices are input-major."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from paligemma_export.architecture import Architecture, VisionArchitecture, geometry_of_shape
from paligemma_export.errors import ExportError
from paligemma_export.fields.rules import Decisions
from paligemma_export.npz import MappedNpz
from paligemma_export.source import check_shapes

_PREFIX = "params/"
_BLOCK = "img/Transformer/encoderblock/"
_ATTENTION = _BLOCK + "MultiHeadDotProductAttention_0/"
_TABLE = "llm/embedder/input_embedding"
_NORMS = {
    "input_layernorm": "pre_attention_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "pre_ffw_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


class BigVisionSource:
    """Presents the npz under the canonical names; matrices come as transposed views of the mapping."""

    def __init__(
        self,
        path: Path,
        scratch: Path,
        window_mode: str = "none",
        final_softcap: float | None = None,
        query_scale: float | None = None,
        decisions: Decisions | None = None,
    ):
        self._npz = MappedNpz(path, scratch)
        self._decisions = decisions or Decisions()
        self.description, self.digest = self._npz.name, self._npz.digest
        self._keys = self._parameters()
        self._shapes = {key: self._npz.shapes[spelled] for key, spelled in self._keys.items()}
        self.architecture = self._deduce(window_mode, final_softcap, query_scale)
        check_shapes(
            self._shapes,
            expected_arrays(self.architecture),
            self.description,
            lambda key: self._keys.get(key, _PREFIX + key),
        )
        for key, spelled in self._keys.items():
            dtype = self._npz.dtypes[spelled]
            if not (dtype in ("float32", "float16") or (dtype.kind == "V" and dtype.itemsize == 2)):
                raise ExportError(
                    f"{self.description}: {key} has type {dtype}, expected float32, float16 or bfloat16"
                )
        types = {self._npz.dtypes[spelled].name for spelled in self._keys.values()}
        if "float16" in types:
            self._decisions.note("float16 arrays are widened to float32, which is exact")
        self.dtype = "bfloat16" if self._npz.dtypes[self._keys[_TABLE]].kind == "V" else "float32"
        self._readers = self._make_readers()

    def _parameters(self) -> dict[str, str]:
        """Key without params/ -> the file's key. What a training state holds beside its parameters is left out."""
        keys = [key for key in self._npz.shapes if key.startswith(_PREFIX)]
        others = [key for key in self._npz.shapes if not key.startswith(_PREFIX)]
        if not keys:
            return {key: key for key in others}
        if others:
            kinds = ", ".join(sorted({key.split("/")[0] for key in others})[:4])
            self._decisions.note(f"{len(others)} arrays beside params/ are a training state and are left out ({kinds})")
        return {key.removeprefix(_PREFIX): key for key in keys}

    def _deduce(
        self, window_mode: str, final_softcap: float | None, query_scale: float | None
    ) -> Architecture:
        """The npz has no configuration: numbers come from shapes, the rest from the published size they match."""
        try:
            vocab, hidden = self._shapes[_TABLE]
            layers, heads, _, head_dim = self._shapes["llm/layers/attn/q_einsum/w"]
            kv_heads = self._shapes["llm/layers/attn/kv_einsum/w"][2]
            intermediate = self._shapes["llm/layers/mlp/linear"][1]
            tokens, width = self._shapes["img/pos_embedding"][1:]
            patch = self._shapes["img/embedding/kernel"][0]
            vision_layers, _, vision_heads, _ = self._shapes[_ATTENTION + "query/kernel"]
            vision_inner = self._shapes[_BLOCK + "MlpBlock_0/Dense_0/kernel"][2]
        except KeyError as error:
            hint = self._other_model()
            if hint:
                raise ExportError(f"{self.description} {hint}") from None
            raise ExportError(f"{self.description}: missing {_PREFIX}{error.args[0]}") from None
        except (ValueError, IndexError):
            raise ExportError(f"{self.description}: an array has the wrong number of dimensions") from None
        if "llm/layers/post_ffw_norm/scale" not in self._shapes and "llm/layers/pre_ffw_norm/scale" in self._shapes:
            raise ExportError(
                f"{self.description} is PaliGemma 1 (it has no post_ffw_norm); only PaliGemma 2 is supported"
            )
        known = geometry_of_shape(hidden, layers)
        if query_scale is None:
            query_scale = known.query_scale if known else head_dim**-0.5
        return Architecture(
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            intermediate=intermediate,
            vocab=vocab,
            query_scale=query_scale,
            window_mode=window_mode,
            final_softcap=30.0 if final_softcap is None else final_softcap,
            vision=VisionArchitecture(
                hidden=width,
                layers=vision_layers,
                heads=vision_heads,
                intermediate=vision_inner,
                patch=patch,
                image_size=patch * round(tokens**0.5),
            ),
        )

    def _other_model(self) -> str:
        """What an archive without the parameters of PaliGemma is, if that can be seen."""
        if not any(key.startswith("llm/") for key in self._shapes):
            if any(key.startswith("img/") or "encoderblock" in key for key in self._shapes):
                return "is an image encoder (SigLIP) alone, not PaliGemma"
            if any(key.startswith(("decoder.", "_vq_vae", "encoder.")) for key in self._shapes):
                return "is the mask decoder; name the model with --checkpoint and this with --mask-decoder"
        return ""

    def tensor(self, name: str) -> Tensor:
        return self._readers[name]()

    def _array(self, key: str) -> Tensor:
        return self._npz.tensor(self._keys[key])

    def _make_readers(self) -> dict[str, Callable[[], Tensor]]:
        """Canonical name -> how to read it."""
        array = self._array
        readers: dict[str, Callable[[], Tensor]] = {
            "language_model.embed_tokens.weight": lambda: array(_TABLE),
            "language_model.norm.weight": lambda: array("llm/final_norm/scale"),
            "multi_modal_projector.linear.weight": lambda: array("img/head/kernel").t(),
            "multi_modal_projector.linear.bias": lambda: array("img/head/bias"),
            "vision_tower.embeddings.patch_embedding.weight": lambda: array("img/embedding/kernel").permute(
                3, 2, 0, 1
            ),
            "vision_tower.embeddings.patch_embedding.bias": lambda: array("img/embedding/bias"),
            "vision_tower.embeddings.position_embedding.weight": lambda: array("img/pos_embedding")[0],
            "vision_tower.post_layernorm.weight": lambda: array("img/Transformer/encoder_norm/scale"),
            "vision_tower.post_layernorm.bias": lambda: array("img/Transformer/encoder_norm/bias"),
        }
        for layer in range(self.architecture.layers):
            readers.update(self._decoder_readers(layer))
        for layer in range(self.architecture.vision.layers):
            readers.update(self._vision_readers(layer))
        return readers

    def _decoder_readers(self, layer: int) -> dict[str, Callable[[], Tensor]]:
        array, prefix, stacked = self._array, f"language_model.layers.{layer}.", "llm/layers/"

        def heads_first(values: Tensor) -> Tensor:  # [heads,H,D] -> [heads*D,H]
            return values.transpose(1, 2).flatten(0, 1)

        readers: dict[str, Callable[[], Tensor]] = {
            prefix + "self_attn.q_proj.weight": lambda: heads_first(
                array(stacked + "attn/q_einsum/w")[layer]
            ),
            prefix + "self_attn.k_proj.weight": lambda: heads_first(
                array(stacked + "attn/kv_einsum/w")[layer, 0]
            ),
            prefix + "self_attn.v_proj.weight": lambda: heads_first(
                array(stacked + "attn/kv_einsum/w")[layer, 1]
            ),
            prefix + "self_attn.o_proj.weight": lambda: array(stacked + "attn/attn_vec_einsum/w")[layer]
            .flatten(0, 1)
            .t(),
            prefix + "mlp.gate_proj.weight": lambda: array(stacked + "mlp/gating_einsum")[layer, 0].t(),
            prefix + "mlp.up_proj.weight": lambda: array(stacked + "mlp/gating_einsum")[layer, 1].t(),
            prefix + "mlp.down_proj.weight": lambda: array(stacked + "mlp/linear")[layer].t(),
        }
        for ours, theirs in _NORMS.items():
            readers[f"{prefix}{ours}.weight"] = lambda key=theirs: array(f"{stacked}{key}/scale")[layer]
        return readers

    def _vision_readers(self, layer: int) -> dict[str, Callable[[], Tensor]]:
        array, prefix = self._array, f"vision_tower.encoder.layers.{layer}."
        readers: dict[str, Callable[[], Tensor]] = {
            prefix + "self_attn.out_proj.weight": lambda: array(_ATTENTION + "out/kernel")[layer]
            .flatten(0, 1)
            .t(),
            prefix + "self_attn.out_proj.bias": lambda: array(_ATTENTION + "out/bias")[layer],
        }
        for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
            name, key = f"{prefix}self_attn.{ours}_proj.", f"{_ATTENTION}{theirs}/"
            readers[name + "weight"] = lambda key=key: array(key + "kernel")[layer].flatten(1).t()
            readers[name + "bias"] = lambda key=key: array(key + "bias")[layer].flatten()
        for index in (0, 1):
            norm, dense = f"{_BLOCK}LayerNorm_{index}/", f"{_BLOCK}MlpBlock_0/Dense_{index}/"
            readers[f"{prefix}layer_norm{index + 1}.weight"] = lambda key=norm: array(key + "scale")[layer]
            readers[f"{prefix}layer_norm{index + 1}.bias"] = lambda key=norm: array(key + "bias")[layer]
            readers[f"{prefix}mlp.fc{index + 1}.weight"] = lambda key=dense: array(key + "kernel")[layer].t()
            readers[f"{prefix}mlp.fc{index + 1}.bias"] = lambda key=dense: array(key + "bias")[layer]
        return readers


def expected_arrays(numbers: Architecture) -> dict[str, tuple[int, ...]]:
    """Key (without params/) -> shape of every array."""
    vision, hidden, inner = numbers.vision, numbers.hidden, numbers.intermediate
    depth, width, heads, head = vision.layers, vision.hidden, vision.heads, vision.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "img/embedding/kernel": (vision.patch, vision.patch, 3, width),
        "img/embedding/bias": (width,),
        "img/pos_embedding": (1, vision.tokens, width),
        "img/Transformer/encoder_norm/scale": (width,),
        "img/Transformer/encoder_norm/bias": (width,),
        "img/head/kernel": (width, hidden),
        "img/head/bias": (hidden,),
        _BLOCK + "MlpBlock_0/Dense_0/kernel": (depth, width, vision.intermediate),
        _BLOCK + "MlpBlock_0/Dense_0/bias": (depth, vision.intermediate),
        _BLOCK + "MlpBlock_0/Dense_1/kernel": (depth, vision.intermediate, width),
        _BLOCK + "MlpBlock_0/Dense_1/bias": (depth, width),
        _ATTENTION + "out/kernel": (depth, heads, head, width),
        _ATTENTION + "out/bias": (depth, width),
        _TABLE: (numbers.vocab, hidden),
        "llm/final_norm/scale": (hidden,),
        "llm/layers/attn/q_einsum/w": (numbers.layers, numbers.heads, hidden, numbers.head_dim),
        "llm/layers/attn/kv_einsum/w": (numbers.layers, 2, numbers.kv_heads, hidden, numbers.head_dim),
        "llm/layers/attn/attn_vec_einsum/w": (numbers.layers, numbers.heads, numbers.head_dim, hidden),
        "llm/layers/mlp/gating_einsum": (numbers.layers, 2, hidden, inner),
        "llm/layers/mlp/linear": (numbers.layers, inner, hidden),
    }
    for index in (0, 1):
        shapes[f"{_BLOCK}LayerNorm_{index}/scale"] = shapes[f"{_BLOCK}LayerNorm_{index}/bias"] = (
            depth,
            width,
        )
    for name in ("query", "key", "value"):
        shapes[f"{_ATTENTION}{name}/kernel"] = (depth, width, heads, head)
        shapes[f"{_ATTENTION}{name}/bias"] = (depth, heads, head)
    for name in _NORMS.values():
        shapes[f"llm/layers/{name}/scale"] = (numbers.layers, hidden)
    return shapes
