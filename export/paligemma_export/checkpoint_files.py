# SPDX-License-Identifier: Apache-2.0
"""The JSON files of a Hugging Face folder: every field decided on, and the rule for pictures that they make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paligemma_export.architecture import Architecture
from paligemma_export.errors import ExportError
from paligemma_export.fields import generation, model_config, processor, tokenizer_files
from paligemma_export.fields.rules import Decisions
from paligemma_export.tokenizer import EOS

# `resample` of Pillow and torchvision -> the manifest's name.
_RESAMPLINGS = {
    3: "pillow_bicubic",
    2: "bilinear_antialias",
    "bicubic": "pillow_bicubic",
    "bilinear": "bilinear_antialias",
}
_FILTERS = {0: "nearest", 1: "lanczos", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class PictureRule:
    """How pictures become numbers. `scale` and `offset` (per channel) turn the number x that the tower is built for,
    (level / 255 - 0.5) / 0.5, into the checkpoint's: scale * x + offset."""

    resampling: str | None = None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_usual(self) -> bool:
        return self.scale == (1.0, 1.0, 1.0) and self.offset == (0.0, 0.0, 0.0)


def load_json(path: Path, required: bool = False) -> Any:
    """The content of a file, {} if it is not there and need not be."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not required:
            return {}
        raise ExportError(f"{path.parent.name}/{path.name}: {error.strerror}") from None
    except OSError as error:
        raise ExportError(f"{path.parent.name}/{path.name}: {error.strerror}") from None
    except ValueError as error:
        raise ExportError(f"{path.parent.name}/{path.name}: not JSON ({error})") from None


def _object(path: Path) -> dict[str, Any]:
    content = load_json(path)
    if not isinstance(content, dict):
        raise ExportError(f"{path.parent.name}/{path.name}: not a JSON object")
    return content


def check_config(config: Any, decisions: Decisions) -> None:
    """Decides on every field of config.json; its numbers are read by hf_config.py."""
    if not isinstance(config, dict):
        return
    decisions.check("config.json", _without_legacy(config), model_config.TOP)
    for block, table in (("text_config", model_config.TEXT), ("vision_config", model_config.VISION)):
        content = config.get(block)
        if not isinstance(content, dict):
            continue
        decisions.check("config.json", _without_legacy(content), table, f"{block}.")
        for rope in ("rope_parameters", "rope_scaling"):
            if isinstance(content.get(rope), dict):
                decisions.check("config.json", content[rope], model_config.ROPE, f"{block}.{rope}.")


def _without_legacy(content: dict[str, Any]) -> dict[str, Any]:
    """Without the defaults of generation that old versions wrote into every configuration."""
    defaults = generation.LEGACY_DEFAULTS
    return {name: value for name, value in content.items() if name not in defaults or value != defaults[name]}


def check_beside(folder: Path, numbers: Architecture, decisions: Decisions) -> PictureRule:
    """Decides on the fields of every other JSON file."""
    decisions.check("generation_config.json", _object(folder / "generation_config.json"), generation.TABLE)
    decisions.check(
        "tokenizer_config.json", _plain_tokens(_object(folder / "tokenizer_config.json")), tokenizer_files.TOKENIZER
    )
    special = _plain_tokens(_object(folder / "special_tokens_map.json"))
    decisions.check("special_tokens_map.json", special, tokenizer_files.SPECIAL_TOKENS)
    whole = _object(folder / "processor_config.json")
    decisions.check("processor_config.json", whole, processor.PROCESSOR)
    _check_sequence("processor_config.json", whole, numbers, decisions)
    inner = whole.get("image_processor")
    if isinstance(inner, dict):
        return _picture_rule("processor_config.json", inner, numbers, decisions)
    return _picture_rule("preprocessor_config.json", _object(folder / "preprocessor_config.json"), numbers, decisions)


@dataclass(frozen=True)
class AnswerRule:
    """Tokens that end an answer beside <eos>, and tokens that never come."""

    more_eos: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()


def answer_rule(folder: Path, config: Any, decisions: Decisions) -> AnswerRule:
    """What generation_config.json says, or config.json where that file does not."""
    generation_fields = _object(folder / "generation_config.json")
    text = config.get("text_config") if isinstance(config, dict) else None
    blocks = [("generation_config.json", "", generation_fields), ("config.json", "", config)]
    blocks += [("config.json", "text_config.", text)]
    found: dict[str, tuple[int, ...]] = {}
    for file, prefix, content in blocks:
        for name in ("eos_token_id", "suppress_tokens"):
            value = content.get(name) if isinstance(content, dict) else None
            if value is not None and name not in found:
                found[name] = _token_list(file, prefix + name, value, decisions)
    ends = found.get("eos_token_id", (EOS,))
    if EOS not in ends:
        decisions.refuse("generation_config.json", "eos_token_id", list(ends), f"accepted: {EOS}, or a list with it")
    rule = AnswerRule(tuple(end for end in ends if end != EOS), found.get("suppress_tokens", ()))
    if rule.more_eos:
        decisions.note(f"answers end at the tokens {list(rule.more_eos)}, too")
    if rule.suppressed:
        decisions.note(f"{len(rule.suppressed)} tokens are suppressed")
    return rule


def _token_list(file: str, name: str, value: Any, decisions: Decisions) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if any(type(one) is not int or one < 0 for one in values):
        decisions.refuse(file, name, value, "accepted: ids of tokens")
        return (EOS,) if name.endswith("eos_token_id") else ()
    return tuple(dict.fromkeys(values))


def _plain_tokens(content: dict[str, Any]) -> dict[str, Any]:
    """Tokens that are stored as objects, by their content."""
    return {
        name: value["content"] if isinstance(value, dict) and "content" in value else value
        for name, value in content.items()
    }


def _check_sequence(file: str, content: dict[str, Any], numbers: Architecture, decisions: Decisions) -> None:
    length = content.get("image_seq_length")
    if length not in (None, numbers.vision.tokens):
        decisions.refuse(file, "image_seq_length", length, f"the tower gives {numbers.vision.tokens} tokens")


def _picture_rule(file: str, content: dict[str, Any], numbers: Architecture, decisions: Decisions) -> PictureRule:
    if not content:
        return PictureRule()
    decisions.check(file, content, processor.IMAGE)
    _check_sequence(file, content, numbers, decisions)
    side = numbers.vision.image_size
    if content.get("do_resize") is False:
        decisions.refuse(file, "do_resize", False, f"accepted: true (the tower takes {side} x {side})")
    size = content.get("size")
    if size not in (None, side, [side, side], {"height": side, "width": side}):
        decisions.refuse(file, "size", size, f"accepted: {{'height': {side}, 'width': {side}}}, as the tower takes")
    rule = _normalization(file, content, decisions)
    return PictureRule(_resampling(file, content.get("resample"), decisions), *rule)


def _resampling(file: str, value: Any, decisions: Decisions) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or value not in _RESAMPLINGS:
        called = f", which is {_FILTERS[value]}" if not isinstance(value, bool) and value in _FILTERS else ""
        decisions.refuse(
            file,
            "resample",
            value,
            f"accepted: 2 (bilinear) and 3 (bicubic){called and '; not ' + str(value) + called}",
        )
        return None
    if _RESAMPLINGS[value] != "pillow_bicubic":
        decisions.note(f"{file}: resample is {value!r}: pictures are resized with {_RESAMPLINGS[value]}")
    return _RESAMPLINGS[value]


def _normalization(
    file: str, content: dict[str, Any], decisions: Decisions
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(scale, offset) of PictureRule."""
    usual = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    rescales, normalizes = content.get("do_rescale") is not False, content.get("do_normalize") is not False
    factor = content.get("rescale_factor", 1 / 255) if rescales else 1.0
    factor = 1 / 255 if factor is None else factor
    mean = _three(file, "image_mean", content.get("image_mean"), decisions) if normalizes else (0.0, 0.0, 0.0)
    deviation = _three(file, "image_std", content.get("image_std"), decisions) if normalizes else (1.0, 1.0, 1.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or factor <= 0:
        decisions.refuse(file, "rescale_factor", factor, "accepted: a positive number")
        return usual
    if min(deviation) <= 0:
        decisions.refuse(file, "image_std", content.get("image_std"), "accepted: positive numbers")
        return usual
    if abs(factor * 255 - 1) < 1e-6 and mean == deviation == (0.5, 0.5, 0.5):
        return usual
    decisions.note(
        f"{file}: pictures are normalised with factor {factor:g}, mean {list(mean)} and std {list(deviation)}: "
        "folded into the weights of the patch embedding"
    )
    half = 127.5 * factor
    scale = tuple(half / one for one in deviation)
    offset = tuple((half - middle) / one for middle, one in zip(mean, deviation, strict=True))
    return scale, offset  # type: ignore[return-value]


def _three(file: str, name: str, value: Any, decisions: Decisions) -> tuple[float, ...]:
    """One number for each channel; 0.5 if the file has none."""
    values = [0.5] * 3 if value is None else [value] * 3 if isinstance(value, int | float) else value
    good = isinstance(values, list) and len(values) == 3
    if not good or any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        decisions.refuse(file, name, value, "accepted: three numbers")
        return (0.5, 0.5, 0.5)
    return tuple(float(one) for one in values)
