# SPDX-License-Identifier: Apache-2.0
"""Maps .npz archives into memory, also those that store bfloat16 as void and those published in parts."""

from __future__ import annotations

import hashlib
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paligemma_export.errors import ExportError

_LOCAL_HEADER = 30


class MappedNpz:
    """Presents the arrays of an archive as tensors whose memory is the file's. Compressed ones are unpacked to
    `scratch`."""

    def __init__(self, path: Path, scratch: Path):
        self.name = path.name
        self._scratch = scratch
        self._path = _join_parts(path, scratch)
        try:
            with self._path.open("rb") as stream:
                self.digest = hashlib.file_digest(stream, "sha256").hexdigest()
            self._archive = zipfile.ZipFile(self._path)
        except OSError as error:
            raise ExportError(f"{self.name}: {error.strerror}") from None
        except zipfile.BadZipFile:
            raise ExportError(f"{self.name}: not a whole npz archive (truncated?)") from None
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in self._archive.infolist()}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self._offsets: dict[str, int] = {}
        self._orders: dict[str, str] = {}
        for key, entry in self._entries.items():
            self._read_header(key, entry)

    def _read_header(self, key: str, entry: zipfile.ZipInfo) -> None:
        try:
            with self._archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                reader = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = reader(stream)
                self._offsets[key] = stream.tell()
        except (ValueError, zipfile.BadZipFile, EOFError, OSError):
            raise ExportError(f"{self.name}: {key} is damaged") from None
        if dtype.hasobject:
            raise ExportError(f"{self.name}: {key} holds objects")
        self.shapes[key], self.dtypes[key] = shape, dtype
        self._orders[key] = "F" if fortran else "C"

    def tensor(self, key: str) -> Tensor:
        """Returns the array as a tensor. Two-byte void is bfloat16."""
        entry, dtype, shape = self._entries[key], self.dtypes[key], self.shapes[key]
        if entry.compress_type == zipfile.ZIP_STORED:
            path, offset = self._path, self._data_start(entry) + self._offsets[key]
        else:
            path, offset = self._scratch / f"npz-{list(self._entries).index(key)}", self._offsets[key]
            if not path.exists():
                with self._archive.open(entry) as packed, path.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 1 << 20)
        stored = np.dtype(np.int16) if dtype.kind == "V" and dtype.itemsize == 2 else dtype
        try:
            array = np.memmap(
                path, dtype=stored, mode="c", offset=offset, shape=shape, order=self._orders[key]
            )
        except ValueError:
            raise ExportError(f"{self.name}: {key} is truncated") from None
        values = torch.from_numpy(array)
        return values.view(torch.bfloat16) if dtype.kind == "V" else values

    def _data_start(self, entry: zipfile.ZipInfo) -> int:
        with self._path.open("rb") as stream:
            stream.seek(entry.header_offset)
            header = stream.read(_LOCAL_HEADER)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        return entry.header_offset + _LOCAL_HEADER + name_length + extra_length


def _join_parts(path: Path, scratch: Path) -> Path:
    """Returns a plain archive's path as it is. Joins FILE.npz.part* in `scratch`, whichever of them was named."""
    stem = path.name.split(".part")[0]
    parts = sorted(path.parent.glob(f"{stem}.part*"))
    if path.exists() and path.name == stem or not parts:
        return path
    joined = scratch / stem
    with joined.open("wb") as target:
        for part in parts:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, target, 16 << 20)
    return joined
