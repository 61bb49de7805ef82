# SPDX-License-Identifier: Apache-2.0
"""Takes from a file what could turn its picture: EXIF, XMP and texts. Pixels stay as they are encoded."""

from __future__ import annotations

from paligemma_serving._formats import picture_type

_PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def without_metadata(data: bytes) -> bytes | None:
    """Returns the same picture without an orientation. Returns None if only a new encoding could take it away."""
    kind = picture_type(data)
    if kind == "JPEG":
        return _bare_jpeg(data)
    if kind == "PNG":
        return _bare_png(data)
    return None if b"EXIF" in data or b"XMP " in data else data


def _bare_jpeg(data: bytes) -> bytes | None:
    """Returns the JPEG without the APP1 segments that stand before its first scan."""
    parts = [data[:2]]
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return b"".join([*parts, data[at:]])
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker != 0xE1:
            parts.append(data[at:end])
        at = end
    return None  # the markers are in no order that this reader knows


def _bare_png(data: bytes) -> bytes | None:
    parts = [data[:8]]
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind not in _PNG_METADATA:
            parts.append(data[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
    return None
