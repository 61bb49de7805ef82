# SPDX-License-Identifier: Apache-2.0
"""manifest.json: built here, and checked by the same rules that the server applies."""

from __future__ import annotations

import re
from typing import Any

from paligemma_export import BUNDLE_FORMAT
from paligemma_export.architecture import Architecture
from paligemma_export.errors import ExportError

LANGUAGES = [
    "ar",
    "bn",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fa",
    "fi",
    "fil",
    "fr",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "iw",
    "ja",
    "ko",
    "mi",
    "nl",
    "no",
    "pl",
    "pt",
    "quz",
    "ro",
    "ru",
    "sv",
    "sw",
    "te",
    "th",
    "tr",
    "uk",
    "vi",
    "zh",
]
RESAMPLINGS = ("pillow_bicubic", "bilinear", "bilinear_antialias")
PADDINGS = ("squash", "pad_white")
METHODS = ("caption", "answer", "detect", "segment", "read", "generate")
RECIPE_PARTS = ("embedding", "attention", "mlp", "vision")
ENCODINGS = ("float32", "bfloat16", "int8", "int4", "fp8")
CHUNK_BYTES = 16 << 20
# The keys of `tokens` that format 2 added.
OPTIONAL_TOKENS = ("more_eos", "suppressed", "client_specials")
USUAL_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS = 1024, 4096

_NUMBER, _HEX = (int, float), re.compile(r"[0-9a-f]{64}")
# The same spellings as in core/text/tokenizer.cc.
SPECIAL = re.compile(
    r"<(?:unused\d+|loc\d{4}|seg\d{3}|image|bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>"
)
SPELLING = re.compile(r"<[^<>]+>")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_BLOCKS: dict[str, dict[str, Any]] = {
    "": {
        "format": int,
        "name": str,
        "display_name": str,
        "revision": str,
        "architecture": dict,
        "image": dict,
        "window_mode": str,
        "tokens": dict,
        "dtype": str,
        "quantization": str,
        "methods": dict,
        "limits": dict,
        "files": dict,
        "provenance": dict,
    },
    "architecture": {
        "hidden": int,
        "layers": int,
        "heads": int,
        "kv_heads": int,
        "head_dim": int,
        "intermediate": int,
        "vocab": int,
        "eps": _NUMBER,
        "rope_theta": _NUMBER,
        "query_scale": _NUMBER,
        "embed_scale": _NUMBER,
        "attention_softcap": _NUMBER,
        "final_softcap": _NUMBER,
        "windows": list,
        "max_positions": int,
        "vision": dict,
    },
    "architecture.vision": {
        "hidden": int,
        "layers": int,
        "heads": int,
        "head_dim": int,
        "intermediate": int,
        "eps": _NUMBER,
        "patch": int,
    },
    "image": {"size": int, "tokens": int, "resampling": str, "padding": str, "max_count": int},
    "tokens": {
        "pad": int,
        "eos": int,
        "bos": int,
        "newline": int,
        "loc_first": int,
        "loc_count": int,
        "seg_first": int,
        "seg_count": int,
        "vocab": int,
    },
    "limits": {"max_input_tokens": int, "max_output_tokens": int, "max_labels": int},
    "provenance": {"source": str, "source_sha256": str, "exporter": str, "license": str},
}
_METHOD_FIELDS = {
    "caption": {"prompts": dict},
    "answer": {"prompt": str},
    "detect": {"prompt": str},
    "segment": {"prompt": str},
    "read": {"prompt": str},
    "generate": {},
}


def architecture_block(numbers: Architecture, dtype: str) -> dict[str, Any]:
    vision = numbers.vision
    return {
        "hidden": numbers.hidden,
        "layers": numbers.layers,
        "heads": numbers.heads,
        "kv_heads": numbers.kv_heads,
        "head_dim": numbers.head_dim,
        "intermediate": numbers.intermediate,
        "vocab": numbers.vocab,
        "eps": numbers.eps,
        "rope_theta": numbers.rope_theta,
        "query_scale": numbers.query_scale,
        "embed_scale": numbers.embed_scale(dtype),
        "attention_softcap": numbers.attention_softcap,
        "final_softcap": numbers.final_softcap,
        "windows": numbers.windows,
        "max_positions": numbers.max_positions,
        "first_position": numbers.first_position,
        "vision": {
            "hidden": vision.hidden,
            "layers": vision.layers,
            "heads": vision.heads,
            "head_dim": vision.head_dim,
            "intermediate": vision.intermediate,
            "eps": vision.eps,
            "patch": vision.patch,
        },
    }


def token_limits(numbers: Architecture, methods: dict[str, Any] | None, wanted: int | None) -> tuple[int, int]:
    """Returns (max_output_tokens, max_input_tokens). The server holds the sum of a request's input and output to
    max_positions, so that the limit of long answers takes nothing from the input of short answers."""
    usual = min(USUAL_OUTPUT_TOKENS, numbers.max_positions // 2)
    if wanted is None:
        sizes = [method.get("max_tokens") for method in (methods or {}).values()]
        wanted = max([usual, *[size for size in sizes if isinstance(size, int)]])
    positions = numbers.max_positions - numbers.first_position
    # One image, <bos> and the newline are the least input; the last token of an answer takes no position.
    most = min(MOST_OUTPUT_TOKENS, positions - numbers.vision.tokens - 2 + 1)
    if not 1 <= wanted <= most:
        raise ExportError(
            f"{wanted} output tokens (--max-output-tokens, or a method's max_tokens) are not between 1 and {most}: "
            f"the server's limit is {MOST_OUTPUT_TOKENS}, and the model has {positions} positions, of which an image "
            f"takes {numbers.vision.tokens}"
        )
    return wanted, numbers.max_positions - min(wanted, usual)


def needed_format(content: dict[str, Any]) -> int:
    """Returns the oldest format whose servers give the same answers with this manifest."""
    special = any(special_spellings(text) for text in templates(content["methods"]))
    return 2 if special or any(content["tokens"].get(name) for name in OPTIONAL_TOKENS) else 1


def templates(methods: dict[str, Any]) -> list[str]:
    """Returns every prompt of a methods block."""
    texts: list[Any] = []
    for method in methods.values():
        texts += [*method.get("prompts", {}).values(), method.get("prompt", ""), method.get("label_separator", "")]
    return [text for text in texts if isinstance(text, str)]


def special_spellings(text: str) -> list[str]:
    """Returns the spellings in `text` that are special pieces where the operator writes them. Where a client writes
    them, they are ordinary text."""
    return SPECIAL.findall(text)


def default_methods(languages: list[str], segment: bool, output_limit: int) -> dict[str, Any]:
    """Returns the prompts of the pre-trained and mix checkpoints. Methods with long answers get the whole limit."""

    def sizes(default: int, most: int | None = None) -> dict[str, int]:
        most = output_limit if most is None else most
        return {"default_tokens": min(default, output_limit), "max_tokens": min(most, output_limit)}

    methods: dict[str, Any] = {
        "caption": {
            "prompts": {"short": "caption {lang}", "long": "describe {lang}"},
            "languages": languages,
            **sizes(64, 256),
        },
        "answer": {"prompt": "answer {lang} {question}", "languages": languages, **sizes(32, 128)},
        "detect": {"prompt": "detect {labels}", "label_separator": " ; ", **sizes(256)},
        "segment": {"prompt": "segment {labels}", "label_separator": " ; ", **sizes(256)},
        "read": {"prompt": "ocr", **sizes(256)},
        "generate": sizes(128),
    }
    if not segment:
        del methods["segment"]
    return methods


def check(manifest: Any) -> list[str]:
    """Returns every problem of a manifest, one line each. A good manifest has none."""
    problems: list[str] = []
    if not isinstance(manifest, dict):
        return ["manifest: not a JSON object"]
    if isinstance(manifest.get("format"), int) and manifest["format"] > BUNDLE_FORMAT:
        return [f"format {manifest['format']} is newer than {BUNDLE_FORMAT}, the newest known"]
    for path, fields in _BLOCKS.items():
        block: Any = manifest
        for part in path.split("."):
            block = block.get(part, {}) if part and isinstance(block, dict) else block
        _check_fields(block, path, fields, problems)
    if not problems:
        _check_values(manifest, problems)
        _check_recipe(manifest.get("recipe"), problems)
        _check_methods(manifest, problems)
        _check_files(manifest, problems)
    return problems


def _check_fields(block: Any, path: str, fields: dict[str, Any], problems: list[str]) -> None:
    if not isinstance(block, dict):
        problems.append(f"{path}: not an object")
        return
    for name, kind in fields.items():
        where = f"{path}.{name}" if path else name
        if name not in block:
            problems.append(f"{where}: missing")
        elif not isinstance(block[name], kind) or isinstance(block[name], bool):
            problems.append(f"{where}: wrong type {type(block[name]).__name__}")


def _check_values(manifest: dict[str, Any], problems: list[str]) -> None:
    numbers, image, tokens = manifest["architecture"], manifest["image"], manifest["tokens"]

    def expect(condition: bool, text: str) -> None:
        if not condition:
            problems.append(text)

    expect(1 <= manifest["format"] <= BUNDLE_FORMAT, f"format: {manifest['format']} is not 1 to {BUNDLE_FORMAT}")
    most = manifest["limits"]["max_output_tokens"]
    expect(most <= MOST_OUTPUT_TOKENS, f"limits.max_output_tokens: {most} is above {MOST_OUTPUT_TOKENS}")
    expect(
        _NAME.fullmatch(manifest["name"]) is not None, f"name: {manifest['name']!r} is not a lower-case label"
    )
    expect(manifest["dtype"] in ("float32", "bfloat16"), f"dtype: {manifest['dtype']!r} is unknown")
    expect(manifest["window_mode"] in ("none", "hf"), f"window_mode: {manifest['window_mode']!r} is unknown")
    expect(image["resampling"] in RESAMPLINGS, f"image.resampling: {image['resampling']!r} is unknown")
    expect(image["padding"] in PADDINGS, f"image.padding: {image['padding']!r} is unknown")
    expect(image["max_count"] >= 1, "image.max_count: below 1")
    expect(len(numbers["windows"]) == numbers["layers"], "architecture.windows: not one for each layer")
    for name in (
        "hidden",
        "layers",
        "heads",
        "kv_heads",
        "head_dim",
        "intermediate",
        "vocab",
        "max_positions",
    ):
        expect(numbers[name] > 0, f"architecture.{name}: not positive")
    expect(
        numbers["kv_heads"] <= 0 or numbers["heads"] % numbers["kv_heads"] == 0,
        "architecture.heads: no multiple of kv_heads",
    )
    # Bundles of the first exporters do not have this key.
    first = numbers.get("first_position", 0)
    expect(type(first) is int and first in (0, 1), f"architecture.first_position: {first!r} is neither 0 nor 1")
    expect(numbers["vocab"] == tokens["vocab"], "tokens.vocab: differs from architecture.vocab")
    expect(
        tokens["seg_first"] + tokens["seg_count"] <= tokens["vocab"],
        "tokens.seg_first: beyond the vocabulary",
    )
    expect(
        tokens["loc_first"] + tokens["loc_count"] <= tokens["vocab"],
        "tokens.loc_first: beyond the vocabulary",
    )
    specials = tokens.get("client_specials", [])
    good = isinstance(specials, list) and all(isinstance(one, str) and SPELLING.fullmatch(one) for one in specials)
    expect(good, f"tokens.client_specials: {specials!r} is no list of <...>")
    for name in ("more_eos", "suppressed"):
        ids = tokens.get(name, [])
        good = isinstance(ids, list) and all(type(one) is int and 0 <= one < tokens["vocab"] for one in ids)
        expect(good, f"tokens.{name}: {ids!r} is no list of ids of the vocabulary")
    grid = image["size"] // max(1, numbers["vision"]["patch"])
    expect(image["tokens"] == grid * grid, "image.tokens: not the square of size / patch")


def _check_recipe(recipe: Any, problems: list[str]) -> None:
    """Checks the recipe. Bundles of the first exporters do not have one."""
    if recipe is None:
        return
    before = len(problems)
    _check_fields(recipe, "recipe", dict.fromkeys(RECIPE_PARTS, str), problems)
    for part in RECIPE_PARTS if len(problems) == before else ():
        if recipe[part] not in ENCODINGS:
            problems.append(f"recipe.{part}: {recipe[part]!r} is unknown")


def _check_methods(manifest: dict[str, Any], problems: list[str]) -> None:
    limit = manifest["limits"]["max_output_tokens"]
    if not manifest["methods"]:
        problems.append("methods: none")
    for name, method in manifest["methods"].items():
        if name not in METHODS:
            problems.append(f"methods.{name}: unknown method")
            continue
        fields = {**_METHOD_FIELDS[name], "default_tokens": int, "max_tokens": int}
        before = len(problems)
        _check_fields(method, f"methods.{name}", fields, problems)
        if len(problems) > before:
            continue
        if name == "caption" and "short" not in method["prompts"]:
            problems.append("methods.caption.prompts.short: missing")
        if not 0 < method["default_tokens"] <= method["max_tokens"] <= limit:
            problems.append(
                f"methods.{name}: not 0 < default_tokens <= max_tokens <= limits.max_output_tokens"
            )
        texts = [*method.get("prompts", {}).values(), method.get("prompt", "")]
        if any("{lang}" in text for text in texts) and not method.get("languages"):
            problems.append(f"methods.{name}.languages: none, but the prompt has {{lang}}")
    if "segment" in manifest["methods"] and "mask_decoder.pt" not in manifest["files"]:
        problems.append("methods.segment: needs mask_decoder.pt")


def _check_files(manifest: dict[str, Any], problems: list[str]) -> None:
    for name in ("decoder.pt", "vision.pt", "tokenizer.model"):
        if name not in manifest["files"]:
            problems.append(f"files.{name}: missing")
    for name, entry in manifest["files"].items():
        if "/" in name or name.startswith("."):
            problems.append(f"files.{name}: not a plain file name")
            continue
        before = len(problems)
        _check_fields(entry, f"files.{name}", {"size": int, "sha256": str, "chunks": list}, problems)
        if len(problems) > before:
            continue
        digests = [entry["sha256"], *entry["chunks"]]
        if not all(isinstance(digest, str) and _HEX.fullmatch(digest) for digest in digests):
            problems.append(f"files.{name}: a sha256 is not 64 hex digits")
        if len(entry["chunks"]) != -(-entry["size"] // CHUNK_BYTES):
            problems.append(f"files.{name}.chunks: not one for each 16 MiB")
