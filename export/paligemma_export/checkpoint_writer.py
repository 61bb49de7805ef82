# SPDX-License-Identifier: Apache-2.0
"""Writes a source in Hugging Face layout, streaming: safetensors shards, index, config.json, tokenizer.model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from paligemma_export.architecture import Architecture
from paligemma_export.progress import Progress
from paligemma_export.source import Source, slabs

PADDING_ROWS = 64
SHARD_BYTES = 4 << 30
_TABLE = "language_model.embed_tokens.weight"


def spelled(name: str) -> str:
    """Returns the name in the older of the two namings, which every version of transformers reads."""
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("vision_tower."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name


def config_of(numbers: Architecture, dtype: str) -> dict[str, Any]:
    """Returns config.json as transformers reads it."""
    vision = numbers.vision
    return {
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "model_type": "paligemma",
        "image_token_index": numbers.vocab,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "hidden_size": numbers.hidden,
        "projection_dim": numbers.hidden,
        "dtype": dtype,
        "text_config": {
            "model_type": "gemma2",
            "hidden_size": numbers.hidden,
            "intermediate_size": numbers.intermediate,
            "num_hidden_layers": numbers.layers,
            "num_attention_heads": numbers.heads,
            "num_key_value_heads": numbers.kv_heads,
            "head_dim": numbers.head_dim,
            "vocab_size": numbers.vocab + PADDING_ROWS,
            "query_pre_attn_scalar": round(numbers.query_scale**-2),
            "sliding_window": numbers.sliding_window,
            "attn_logit_softcapping": numbers.attention_softcap,
            "final_logit_softcapping": numbers.final_softcap or None,
            "rms_norm_eps": numbers.eps,
            "rope_theta": numbers.rope_theta,
            "max_position_embeddings": numbers.max_positions,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
            "dtype": dtype,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": vision.hidden,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "intermediate_size": vision.intermediate,
            "patch_size": vision.patch,
            "image_size": vision.image_size,
            "layer_norm_eps": vision.eps,
            "projection_dim": numbers.hidden,
            "vision_use_head": False,
            "dtype": dtype,
        },
    }


def write(directory: Path, source: Source, tokenizer_model: bytes, quiet: bool = False) -> None:
    """Fills an existing, empty directory."""
    numbers = source.architecture
    shapes = dict(numbers.tensors())
    shapes[_TABLE] = (numbers.vocab + PADDING_ROWS, numbers.hidden)
    width = 2 if source.dtype == "bfloat16" else 4
    shards = _split(shapes, width)
    progress = Progress("writing the checkpoint", sum(map(math.prod, shapes.values())), enabled=not quiet)
    weight_map = {}
    for index, names in enumerate(shards):
        single = len(shards) == 1
        file_name = (
            "model.safetensors" if single else f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        )
        with (directory / file_name).open("wb") as stream:
            _write_shard(stream, source, {name: shapes[name] for name in names}, width, progress)
        weight_map.update({spelled(name): file_name for name in names})
    if len(shards) > 1:
        index_file = {
            "metadata": {"total_size": width * sum(map(math.prod, shapes.values()))},
            "weight_map": weight_map,
        }
        (directory / "model.safetensors.index.json").write_text(json.dumps(index_file, indent=1) + "\n")
    (directory / "config.json").write_text(json.dumps(config_of(numbers, source.dtype), indent=1) + "\n")
    (directory / "tokenizer.model").write_bytes(tokenizer_model)
    progress.finish()


def _split(shapes: dict[str, tuple[int, ...]], width: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        tensor_size = width * math.prod(shape)
        if shards[-1] and size + tensor_size > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor_size
    return shards


def _write_shard(
    stream: BinaryIO, source: Source, shapes: dict[str, tuple[int, ...]], width: int, progress: Progress
) -> None:
    """Writes the safetensors format: the length of the header, the header, then the tensors one behind the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        size = width * math.prod(shape)
        header[spelled(name)] = {
            "dtype": "BF16" if width == 2 else "F32",
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    stored = torch.bfloat16 if width == 2 else torch.float32
    for name, shape in shapes.items():
        values = source.tensor(name)
        for rows in slabs(values.size(0), math.prod(shape[1:])):
            _write_raw(stream, values[rows].to(stored))
        if values.size(0) < shape[0]:  # random padding rows, as published checkpoints have them
            generator = torch.Generator().manual_seed(7)
            padding = torch.randn(shape[0] - values.size(0), shape[1], generator=generator) * 0.2
            _write_raw(stream, padding.to(stored))
        progress.advance(math.prod(shape))


def _write_raw(stream: BinaryIO, values: Tensor) -> None:
    stream.write(values.contiguous().view(-1).view(torch.uint8).numpy().data)
