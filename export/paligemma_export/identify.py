# SPDX-License-Identifier: Apache-2.0
"""Says what lies at a path where a checkpoint is expected, and what to do when it is something else.

`checkpoint_at` returns a path that the readers can read, or raises an ExportError of one sentence: what the thing is,
and the command that helps. core/bundle/not_a_bundle.cc does the same for the server's --model.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paligemma_export.errors import ExportError

LFS_MARK = b"version https://git-lfs.github.com/spec/"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_HALF = (".incomplete", ".crdownload", ".download", ".part", ".partial", ".tmp", ".aria2")

# Weights that no reader here opens: what a folder with such a file is, and what to do.
_PICKLE = (
    "pickles can run code and are not read: convert with transformers, "
    "PaliGemmaForConditionalGeneration.from_pretrained(DIR).save_pretrained(NEW_DIR), and copy the tokenizer's files"
)
_FOREIGN_WEIGHTS: tuple[tuple[str, str], ...] = (
    ("pytorch_model*.bin*", f"its weights are a PyTorch pickle; {_PICKLE}"),
    ("*.distcp", "its weights are a distributed training state; save the model with save_pretrained first"),
    ("global_step*", "it is a DeepSpeed training state; run its zero_to_fp32.py, then save_pretrained"),
    ("*.gguf", "its weights are GGUF, made for llama.cpp; export the original checkpoint with --quantize"),
    ("tf_model.h5", "its weights are TensorFlow's; take the safetensors of the same model"),
    ("*.h5", "its weights are Keras'; take the Hugging Face or big_vision files of the same model"),
    ("*.keras", "its weights are Keras'; take the Hugging Face or big_vision files of the same model"),
    ("flax_model*.msgpack", "its weights are Flax'; take the safetensors or the big_vision npz of the same model"),
    ("saved_model.pb", "it is a TensorFlow SavedModel; take the safetensors of the same model"),
    ("*.onnx", "its weights are ONNX; export the original checkpoint"),
    ("*.tflite", "its weights are TensorFlow Lite; export the original checkpoint"),
    ("*.task", "its weights are MediaPipe's; export the original checkpoint"),
    ("*.pth", f"its weights are a PyTorch pickle; {_PICKLE}"),
    ("*.pt", f"its weights are a PyTorch pickle; {_PICKLE}"),
    ("*.ckpt", f"its weights are a training state; {_PICKLE}"),
)

# quant_method of quantization_config -> how people call it.
_QUANTIZERS = {
    "bitsandbytes": "bitsandbytes",
    "fp8": "fp8",
    "fbgemm_fp8": "fp8 (fbgemm)",
    "compressed-tensors": "compressed-tensors",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "torchao": "torchao",
    "quanto": "Quanto",
    "hqq": "HQQ",
    "mxfp4": "MXFP4",
}

# model_type -> what the model is called; each of them is no PaliGemma 2.
_OTHER_MODELS = {
    "gemma": "Gemma 1",
    "gemma2": "Gemma 2 without a vision tower",
    "gemma3": "Gemma 3",
    "gemma3_text": "Gemma 3 without a vision tower",
    "gemma3n": "Gemma 3n",
    "colpali": "ColPali",
    "siglip": "SigLIP",
    "llava": "LLaVA",
    "qwen2_vl": "Qwen2-VL",
    "qwen2_5_vl": "Qwen2.5-VL",
    "florence2": "Florence-2",
    "t5gemma": "T5Gemma",
    "shieldgemma2": "ShieldGemma 2",
}


def checkpoint_at(given: str) -> Path:
    """The folder or npz file at `given`, a snapshot of a hub cache resolved. Raises ExportError for anything else."""
    path = Path(given)
    if not path.exists():
        raise ExportError(_absent(given))
    if path.is_dir():
        path = _snapshot_of(path)
        problem = folder_problem(path)
    else:
        problem = file_problem(path)
    if problem:
        raise ExportError(problem)
    return path


def _absent(given: str) -> str:
    path = Path(given)
    if re.match(r"https?://", given):
        return (
            f"{given} is a web address, nothing is fetched: download it first (hf download OWNER/NAME --local-dir DIR)"
        )
    if path.is_symlink():
        return f"{given} is a link to a file that is not there; fetch it again"
    if _HUB_ID.fullmatch(given) and not Path(given.split("/")[0]).exists():
        name = given.split("/")[1]
        return (
            f"{given}: no such folder. As the name of a model on the Hugging Face hub it must be fetched first: "
            f"hf download {given} --local-dir {name}, then --checkpoint={name}"
        )
    return f"{given}: No such file or folder"


# ------------------------------------------------------------------------------------------------------- files


def is_lfs_pointer(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(LFS_MARK)


def lfs_sentence(path: Path) -> str:
    return f"{path} is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder"


def file_problem(path: Path) -> str:
    """Why the file is no big_vision npz; "" when it may be one."""
    name = str(path)
    if is_lfs_pointer(path):
        return lfs_sentence(path)
    head = _head(path)
    if not head:
        return (
            f"{name}: not a whole npz archive (truncated? it is empty)" if ".npz" in path.name else f"{name} is empty"
        )
    if path.suffix in _HALF and ".npz.part" not in path.name:
        return f"{name} is a download that has not ended; fetch it again"
    kind = _kind_of_file(path, head)
    return f"{name} {kind}" if kind else ""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(512)
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from None


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


_BY_CONTENT: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: head.startswith(b"GGUF"), "is GGUF, made for llama.cpp; export the original with --quantize"),
    (lambda head: head.startswith(b"\x89HDF"), "is HDF5 (Keras); take the Hugging Face or big_vision files"),
    (lambda head: head.startswith(b"\x93NUMPY"), "is one NumPy array; a big_vision checkpoint is an .npz of many"),
    (lambda head: head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"), f"is a pickle; {_PICKLE}"),
    (lambda head: head.startswith(b"\x1f\x8b"), "is a gzip archive; unpack it (tar xf) and name what comes out"),
    (lambda head: head.startswith(b"BZh"), "is a bzip2 archive; unpack it (tar xf) and name what comes out"),
    (lambda head: head.startswith(b"\xfd7zXZ"), "is an xz archive; unpack it (tar xf) and name what comes out"),
    (lambda head: head.startswith(b"\x28\xb5\x2f\xfd"), "is a zstd archive; unpack it and name what comes out"),
    (lambda head: head.startswith(b"7z\xbc\xaf"), "is a 7z archive; unpack it and name what comes out"),
    (lambda head: head.startswith(b"Rar!"), "is a rar archive; unpack it and name what comes out"),
    (lambda head: head[257:262] == b"ustar", "is a tar archive; unpack it (tar xf) and name what comes out"),
    (lambda head: head[4:8] == b"TFL3", "is TensorFlow Lite; export the original checkpoint"),
    (lambda head: head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")),
     "is a web page, not a model: the download went wrong (signed in? licence accepted?)"),
)  # fmt: skip


def _kind_of_file(path: Path, head: bytes) -> str:
    for matches, sentence in _BY_CONTENT:
        if matches(head):
            return sentence
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if _is_safetensors(head) or path.suffix == ".json":
        folder = path.parent
        what = "is one file of a checkpoint" if path.suffix == ".json" else "holds weights alone"
        if (folder / "config.json").exists():
            return f"{what}; name its folder: --checkpoint={folder}"
        return f"{what}; a checkpoint is a folder with config.json, *.safetensors and the tokenizer's files"
    if path.suffix in (".onnx", ".msgpack", ".task", ".pb"):
        return f"is {path.suffix[1:]}, which is not read; take the safetensors or the big_vision npz of the same model"
    if ".npz" in path.name:
        return ""  # the reader of such a file says more
    return "is no checkpoint; that is a Hugging Face folder or a big_vision .npz"


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        if ".npz" in path.name:
            return ""
        return "is a zip archive that is cut short; fetch it again"
    if any(name.endswith("data.pkl") for name in names):
        return f"is a PyTorch pickle; {_PICKLE}"
    if any(name.endswith(".weights.h5") for name in names):
        return "is a Keras model; take the Hugging Face or big_vision files of the model"
    if any(name.endswith(".npy") for name in names):
        plain = {name.removesuffix(".npy") for name in names}
        if any(name.startswith(("_vq_vae", "decoder.")) for name in plain):
            return "is the mask decoder; name the model with --checkpoint and this with --mask-decoder"
        return ""
    return "is a zip archive; unpack it and name the folder that comes out"


# ----------------------------------------------------------------------------------------------------- folders


def _snapshot_of(folder: Path) -> Path:
    """The snapshot of a hub cache's folder models--OWNER--NAME; any other folder as it is."""
    snapshots = folder / "snapshots"
    if (folder / "config.json").exists() or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip()).is_dir():
        return snapshots / main.read_text().strip()
    found = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise ExportError(f"{folder} is a hub cache with the snapshots {names}; name one of them")


def folder_problem(folder: Path) -> str:
    """Why the folder is no checkpoint of PaliGemma 2 in safetensors; "" when it may be one."""
    if (folder / "manifest.json").is_file() and (folder / "decoder.pt").exists():
        return f"{folder} is a bundle already; serve it: paligemma-server --model={folder}"
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        return _adapter_sentence(folder)
    if not (folder / "config.json").exists():
        return _without_config(folder)
    if is_lfs_pointer(folder / "config.json"):
        return lfs_sentence(folder / "config.json")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # the reader of such a file names the line
    return model_problem(config, str(folder)) or _weights_problem(folder)


def adapter_base(folder: Path) -> tuple[str, str]:
    """(kind, base model) of a PEFT folder, "?" for what it does not say."""
    try:
        content = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    if not isinstance(content, dict):
        content = {}
    return str(content.get("peft_type") or "?"), str(content.get("base_model_name_or_path") or "?")


def _adapter_sentence(folder: Path) -> str:
    kind, base = adapter_base(folder)
    return (
        f"{folder} is a PEFT adapter ({kind}) of {base}, not a whole model: name its base as the checkpoint and "
        f"--adapter={folder}, or merge it with peft (merge_and_unload, save_pretrained)"
    )


def _without_config(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return f"{folder} is empty"
    archives = [name for name in names if name.endswith(".npz") or ".npz.part" in name]
    if archives:
        return f"{folder} holds a big_vision archive; name the file: --checkpoint={folder / archives[0]}"
    cached = [name for name in names if name.startswith("models--")]
    if cached:
        return f"{folder} is a hub cache; name a model of it: --checkpoint={folder / cached[0]}"
    inner = [name for name in names if (folder / name / "config.json").exists()]
    if inner:
        last = folder / inner[-1]
        return f"{folder} is no checkpoint itself, but holds {', '.join(inner[:4])}; name one: --checkpoint={last}"
    foreign = _foreign_weights(folder)
    if foreign:
        return f"{folder}: {foreign}"
    if any(name.startswith(("_METADATA", "_CHECKPOINT", "ocdbt", "manifest.ocdbt")) for name in names):
        return f"{folder} is an Orbax (JAX) checkpoint; take the Hugging Face or big_vision files of the model"
    if any(name.endswith(".safetensors") for name in names):
        return f"{folder}/config.json: No such file or directory; weights alone do not say their architecture"
    held = ", ".join(names[:5])
    return f"{folder}/config.json: No such file or directory, so this is no Hugging Face checkpoint (it holds {held})"


def _foreign_weights(folder: Path) -> str:
    for pattern, sentence in _FOREIGN_WEIGHTS:
        if any(folder.glob(pattern)):
            return sentence
    return ""


def _weights_problem(folder: Path) -> str:
    shards = [path for path in folder.glob("*.safetensors*") if path.suffix in (".safetensors", ".json")]
    for path in shards:
        if is_lfs_pointer(path):
            return lfs_sentence(path)
        if path.is_symlink() and not path.exists():
            return f"{path} is a link into a hub cache to a file that is not there; fetch the model again"
    weights = [path for path in shards if path.suffix == ".safetensors" and path.name != "adapter_model.safetensors"]
    if weights or (folder / "model.safetensors.index.json").exists():
        return ""
    if (folder / "adapter_config.json").exists():
        return _adapter_sentence(folder)
    half = [path.name for path in folder.iterdir() if path.suffix in _HALF]
    foreign = _foreign_weights(folder)
    if foreign:
        return f"{folder}: {foreign}"
    if half:
        return f"{folder}: {half[0]} is a download that has not ended; fetch the model again"
    return f"{folder}: model.safetensors is missing"


def missing_shards(names: list[str]) -> list[str]:
    """Of model-00001-of-00003.safetensors and the like, those that `names` lacks; for folders without an index."""
    counts = {int(match[2]) for name in names if (match := _SHARD.fullmatch(name))}
    whole = {f"model-{index + 1:05d}-of-{count:05d}.safetensors" for count in counts for index in range(count)}
    return sorted(whole - set(names))


# ------------------------------------------------------------------------------------------------------ models


def model_problem(config: Any, where: str) -> str:
    """Why a config.json describes another model or a quantised one; "" when it does not."""
    if not isinstance(config, dict):
        return ""
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict) and quantization:
        return (
            f"{where}: this checkpoint is quantised ({_quantizer(quantization)}); export the original checkpoint "
            "with --quantize=int8 or another of --quantize"
        )
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and "bits" in mlx:
        return (
            f"{where}: this checkpoint is quantised (MLX, {mlx['bits']} bits); export the original checkpoint "
            "with --quantize=int8 or another of --quantize"
        )
    kind = config.get("model_type")
    if kind not in (None, "paligemma"):
        called = _OTHER_MODELS.get(kind, f"a model of the type {kind!r}")
        return f"{where} is {called}; only PaliGemma 2 is supported (model_type paligemma with a gemma2 text model)"
    text = config.get("text_config")
    if isinstance(text, dict) and text.get("model_type") == "gemma":
        return f"{where} is PaliGemma 1 (text_config.model_type is 'gemma'), only gemma2 (PaliGemma 2) is supported"
    return ""


def _quantizer(content: dict[str, Any]) -> str:
    method = content.get("quant_method")
    if method is None and (content.get("load_in_4bit") or content.get("load_in_8bit")):
        method = "bitsandbytes"
    called = _QUANTIZERS.get(str(method), str(method or "by a method that it does not name"))
    if called != "bitsandbytes":
        return called
    return (
        f"bitsandbytes {content.get('bnb_4bit_quant_type', 'fp4')}" if content.get("load_in_4bit") else f"{called} int8"
    )
