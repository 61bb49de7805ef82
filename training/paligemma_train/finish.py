# SPDX-License-Identifier: Apache-2.0
"""From a trained state to a Hugging Face checkpoint, and with paligemma_export to a bundle; and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from paligemma_train import checkpoint, learn, vqvae
from paligemma_train.model import Config, PaliGemma, resized_positions
from paligemma_train.vocabulary import BOS, EOS, PAD

_PADDING_ROWS = 64
_POSITIONS = "vision_tower.embeddings.position_embedding.weight"
_CODEC = "mask_codec.safetensors"  # beside a bundle's own files: its encoder is needed to train on, not to serve
_PREFIXES = {"language_model.": "language_model.model.", "vision_tower.": "vision_tower.vision_model."}


def config_json(config: Config) -> dict:
    special = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS}
    return {
        "architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma",
        "image_token_index": config.vocab, "hidden_size": config.hidden, "projection_dim": config.hidden, **special,
        "text_config": {
            "model_type": "gemma2", "hidden_size": config.hidden, "intermediate_size": config.intermediate,
            "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads, "head_dim": config.head_dim,
            "vocab_size": config.vocab + _PADDING_ROWS, "query_pre_attn_scalar": config.query_pre_attn_scalar,
            "sliding_window": 4096, "attn_logit_softcapping": config.attention_softcap,
            "final_logit_softcapping": config.final_softcap or None, "rms_norm_eps": config.eps,
            "rope_theta": config.rope_theta, "max_position_embeddings": 2048, **special},
        "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": config.vision_hidden,
            "num_hidden_layers": config.vision_layers, "num_attention_heads": config.vision_heads,
            "intermediate_size": config.vision_intermediate, "patch_size": config.patch,
            "image_size": config.image_size, "layer_norm_eps": config.eps, "projection_dim": config.hidden,
            "vision_use_head": False},
    }


def write_checkpoint(directory: Path, model: PaliGemma, tokenizer: Path | None,
                     dtype: torch.dtype = torch.bfloat16) -> None:
    """A directory that transformers and paligemma_export read; padding rows of the table are zero."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "language_model.embed_tokens.weight":
            value = torch.cat((value, value.new_zeros(_PADDING_ROWS, value.size(1))))
        for plain, spelled in _PREFIXES.items():
            if name.startswith(plain):
                name = spelled + name.removeprefix(plain)
        tensors[name] = value.detach().to("cpu", dtype).contiguous()
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    content = config_json(model.config)
    content["dtype"] = str(dtype).removeprefix("torch.")
    (directory / "config.json").write_text(json.dumps(content, indent=1) + "\n")
    if tokenizer is not None:
        shutil.copyfile(tokenizer, directory / "tokenizer.model")


def load_model(work: Path) -> PaliGemma:
    state, config = checkpoint.load(work / learn.FILE), learn.config_of(work)
    if state is None or config is None:
        raise FileNotFoundError(f"{work / learn.FILE}: nothing trained yet")
    model = PaliGemma(config)
    model.load_state_dict(state["model"])
    return model


def methods() -> dict:
    """The manifest's methods block: what the demo model was taught."""
    return {
        "caption": {"prompts": {"short": "caption {lang}", "long": "describe {lang}"}, "languages": ["en", "de", "fr"],
                    "default_tokens": 64, "max_tokens": 128},
        "answer": {"prompt": "answer {lang} {question}", "languages": ["en"], "default_tokens": 32, "max_tokens": 64},
        "detect": {"prompt": "detect {labels}", "label_separator": " ; ", "default_tokens": 128, "max_tokens": 256},
        "segment": {"prompt": "segment {labels}", "label_separator": " ; ", "default_tokens": 192, "max_tokens": 256},
        "read": {"prompt": "ocr", "default_tokens": 64, "max_tokens": 128},
        "generate": {"default_tokens": 64, "max_tokens": 256},
    }


def export(work: Path, bundle: Path) -> None:
    """Checkpoint to work/checkpoint, bundle to `bundle`, which must not exist yet, with what `from-bundle` needs."""
    directory = work / "checkpoint"
    write_checkpoint(directory, load_model(work), work / learn.TOKENIZER)
    (work / "methods.json").write_text(json.dumps(methods(), indent=1) + "\n")
    subprocess.run(
        [sys.executable, "-m", "paligemma_export", "export", f"--checkpoint={directory}", f"--output={bundle}",
         f"--mask-decoder={work / vqvae.NPZ}", f"--methods={work / 'methods.json'}", "--name=paligemma2-demo",
         "--display-name=PaliGemma 2 demo (miniature)", "--license=Apache-2.0"], check=True)
    codec = vqvae.load(work)
    if codec is not None:
        save_file(codec.state_dict(), bundle / _CODEC, {"format": "pt"})


def start_from_bundle(bundle: Path, work: Path, image_size: int | None = None) -> None:
    """Turns a committed bundle into work/model.pt with a fresh optimizer; tokenizer and mask codec come along. With an
    `image_size` of its own the model goes on at that resolution: the positions are interpolated, all else stays."""
    from paligemma_export import bundle as bundles
    from paligemma_export.bundle_source import BundleSource

    source = BundleSource(bundle, bundles.read_manifest(bundle))
    manifest = bundles.read_manifest(bundle)
    config = Config(image_size=image_size or manifest["image"]["size"])
    model = PaliGemma(config)
    state = {name: source.tensor(name).float() for name in model.state_dict()}
    state[_POSITIONS] = resized_positions(state[_POSITIONS], config.grid)
    model.load_state_dict(state)
    work.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle / "tokenizer.model", work / learn.TOKENIZER)
    checkpoint.save(work / learn.FILE, {"model": model.state_dict(), "step": 0, "examples": 0})
    if (bundle / _CODEC).exists():
        checkpoint.save(work / vqvae.FILE, {"codec": load_file(bundle / _CODEC), "step": 0})
        codec = vqvae.load(work)
        assert codec is not None
        vqvae.write_npz(work / vqvae.NPZ, codec)
