# SPDX-License-Identifier: Apache-2.0
"""What people give instead of a checkpoint is called what it is, with the command that helps."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import assert_refused, assert_same_weights, export, shard
from conftest import Tiny
from paligemma_export import identify
from safetensors.torch import save_file

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 6066\n"
ROTATED = "model.safetensors"


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def masks() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"_vq_vae._embedding": np.zeros(3), "decoder.0.weight": np.zeros(3)})
    return buffer.getvalue()


FILES = [
    ("model.gguf", b"GGUF\x03\0\0\0" + b"\0" * 40, ["is GGUF", "--quantize"]),
    ("model.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, ["HDF5 (Keras)"]),
    ("model.keras", zip_of("config.json", "model.weights.h5"), ["Keras model"]),
    ("pytorch_model.bin", pickled(), ["PyTorch pickle", "save_pretrained"]),
    ("old.ckpt", b"\x80\x02}q\0.", ["is a pickle", "save_pretrained"]),
    ("one.npy", array(), ["one NumPy array"]),
    ("model.tar", tar_of("config.json"), ["tar archive", "tar xf"]),
    ("model.tar.gz", gzip.compress(b"x"), ["gzip archive"]),
    ("model.zip", zip_of("model/config.json"), ["zip archive", "unpack"]),
    ("model.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 30, ["TensorFlow Lite"]),
    ("model.onnx", b"\x08\x07\x12\x07pytorch", ["is onnx"]),
    ("flax_model.msgpack", b"\xde\x00\x10", ["is msgpack"]),
    ("pt_224.npz", POINTER, ["git-lfs pointer", "git lfs pull"]),
    ("pt_224.npz", b"<!DOCTYPE html><html>", ["web page"]),
    ("model.safetensors.incomplete", b"\x08\0\0\0\0\0\0\0{", ["has not ended"]),
    ("notes.txt", b"hello", ["is no checkpoint"]),
    ("empty.bin", b"", ["is empty"]),
    ("vae-oid.npz", masks(), ["mask decoder", "--mask-decoder"]),
]


@pytest.mark.parametrize(("name", "data", "words"), FILES, ids=[f"{name}-{words[0]}" for name, _, words in FILES])
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, data: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    assert_refused(tmp_path / name, tmp_path / "out" / "bundle", capsys, [name, *words])


def test_one_file_of_a_checkpoint_names_its_folder(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tinies["tiny-a"].checkpoint
    for name in ("model.safetensors", "config.json"):
        assert_refused(folder / name, tmp_path / "out" / "bundle", capsys, [f"--checkpoint={folder}"])
    save_file({"a": torch.zeros(2)}, tmp_path / "lonely.safetensors")
    assert_refused(tmp_path / "lonely.safetensors", tmp_path / "out" / "bundle", capsys, ["holds weights alone"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("google/paligemma2-3b-mix-224", ["hf download google/paligemma2-3b-mix-224", "--local-dir"]),
        ("https://huggingface.co/google/paligemma2-3b-mix-224", ["web address", "hf download"]),
        ("/nowhere/at/all", ["No such file or folder"]),
    ],
)
def test_what_is_not_here_says_how_to_fetch_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, given: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    from paligemma_export import cli

    assert cli.main(["export", f"--checkpoint={given}", f"--output={tmp_path}/out/bundle"]) == 1
    error = capsys.readouterr().err
    assert given in error and error.count("\n") == 1 and all(word in error for word in words)


def configured(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes config.json."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def quantised(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: configured(folder, lambda config: config.update(quantization_config=fields))


def of_type(kind: str) -> Callable[[Path], None]:
    return lambda folder: configured(folder, lambda config: config.update(model_type=kind))


def first_generation(folder: Path) -> None:
    configured(folder, lambda config: config["text_config"].update(model_type="gemma"))


def mlx(folder: Path) -> None:
    configured(folder, lambda config: config.update(quantization={"group_size": 64, "bits": 4}))


def only(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    """The weights replaced by a file of another kind."""

    def change(folder: Path) -> None:
        (folder / ROTATED).unlink()
        (folder / name).write_bytes(data)

    return change


def pointer(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(POINTER) and None


def dangling(folder: Path) -> None:
    (folder / ROTATED).unlink()
    (folder / ROTATED).symlink_to("../../blobs/absent")


def half_a_set(folder: Path) -> None:
    names = shard(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / names[1]).unlink()


def adapter(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    content = {"peft_type": "LORA", "base_model_name_or_path": "google/paligemma2-3b-pt-224", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    (folder / "adapter_model.safetensors").write_bytes(b"x")


def adapter_beside_a_config(folder: Path) -> None:
    (folder / ROTATED).unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "base"}')


def trainers_output(folder: Path) -> None:
    inner = folder / "checkpoint-500"
    inner.mkdir()
    for path in list(folder.iterdir()):
        if path != inner:
            shutil.move(path, inner)


def bundle_instead(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    (folder / "decoder.pt").write_bytes(b"x")


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def with_archive(folder: Path) -> None:
    emptied(folder)
    (folder / "pt_224.npz").write_bytes(b"x")


FOLDERS: list[tuple[Callable[[Path], None], list[str]]] = [
    (quantised(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4"),
     ["quantised (bitsandbytes nf4)", "--quantize"]),
    (quantised(load_in_8bit=True), ["quantised (bitsandbytes int8)"]),
    (quantised(quant_method="fp8"), ["quantised (fp8)"]),
    (quantised(quant_method="gptq", bits=4), ["quantised (GPTQ)"]),
    (quantised(quant_method="new-thing"), ["quantised (new-thing)"]),
    (mlx, ["quantised (MLX, 4 bits)", "--quantize"]),
    (of_type("gemma3"), ["is Gemma 3", "only PaliGemma 2"]),
    (of_type("colpali"), ["is ColPali"]),
    (of_type("something"), ["'something'", "only PaliGemma 2"]),
    (first_generation, ["PaliGemma 1", "only gemma2"]),
    (only("pytorch_model.bin"), ["PyTorch pickle", "save_pretrained"]),
    (only("pytorch_model-00001-of-00002.bin"), ["PyTorch pickle"]),
    (only("tf_model.h5"), ["TensorFlow"]),
    (only("flax_model.msgpack"), ["Flax"]),
    (only("model-Q4.gguf"), ["GGUF"]),
    (only("model.safetensors.incomplete"), ["has not ended"]),
    (only("readme.md"), ["model.safetensors is missing"]),
    (pointer(ROTATED), ["git-lfs pointer", "git lfs pull"]),
    (pointer("config.json"), ["config.json", "git-lfs pointer"]),
    (pointer("tokenizer.model"), ["tokenizer.model", "git-lfs pointer"]),
    (dangling, ["model.safetensors", "not there"]),
    (half_a_set, ["model-00002-of-00003.safetensors is missing"]),
    (adapter, ["PEFT adapter (LORA) of google/paligemma2-3b-pt-224", "--adapter="]),
    (adapter_beside_a_config, ["PEFT adapter (LORA) of base"]),
    (trainers_output, ["holds checkpoint-500", "--checkpoint="]),
    (bundle_instead, ["is a bundle already", "paligemma-server --model="]),
    (emptied, ["is empty"]),
    (with_archive, ["pt_224.npz", "--checkpoint="]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FOLDERS, ids=[words[0] for _, words in FOLDERS])
def test_a_folder_of_another_kind_is_named(
    tinies: dict[str, Tiny],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    change: Callable[[Path], None],
    words: list[str],
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "given")
    change(tmp_path / "given")
    assert_refused(tmp_path / "given", tmp_path / "out" / "bundle", capsys, words)


def test_a_hub_cache_with_its_links_is_exported(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    """models--OWNER--NAME: the snapshot of refs/main, whose files are links into blobs/."""
    tiny, cache = tinies["tiny-a"], tmp_path / "models--owner--tiny"
    snapshot = cache / "snapshots" / "abc"
    for folder in (snapshot, cache / "blobs", cache / "refs"):
        folder.mkdir(parents=True)
    for index, path in enumerate(sorted(tiny.checkpoint.iterdir())):
        shutil.copy(path, cache / "blobs" / str(index))
        (snapshot / path.name).symlink_to(f"../../blobs/{index}")
    (cache / "refs" / "main").write_text("abc")
    assert export(cache, tmp_path / "by-cache") == 0
    assert export(snapshot, tmp_path / "by-snapshot") == 0
    assert_same_weights(tmp_path / "by-cache", tiny.bundle)
    assert_same_weights(tmp_path / "by-snapshot", tiny.bundle)
    (cache / "snapshots" / "def").mkdir()
    (cache / "refs" / "main").unlink()
    with pytest.raises(identify.ExportError, match="snapshots abc, def"):
        identify.checkpoint_at(str(cache))
    with pytest.raises(identify.ExportError, match="name a model of it"):
        identify.checkpoint_at(str(tmp_path))


def test_a_read_only_folder_is_exported(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    """Nothing is written beside the checkpoint; root may write anywhere, so that its contents are compared."""
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "given")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "given").iterdir()}
    for path in [*(tmp_path / "given").iterdir(), tmp_path / "given"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert export(tmp_path / "given", tmp_path / "bundle") == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "given").iterdir()} == before
    (tmp_path / "given").chmod(0o755)
