# SPDX-License-Identifier: Apache-2.0
"""Says what bytes are that were given as a picture and are none, in the server's words.

The server has the same table (core/vision/foreign_format.cc). What neither knows is sent, and the server refuses it.
"""

from __future__ import annotations

import base64
import binascii

_RAW = "this is TIFF or a camera's raw file: convert it to PNG first"
_HEIC = "this is HEIC, which phones write: convert it to JPEG first, or let the phone save JPEG"
_AVIF = "this is AVIF: convert it to PNG first"
_VIDEO = "this is a video: send one of its frames as JPEG or PNG"
_JPEG_2000 = "this is JPEG 2000: convert it to PNG first"
_JPEG_XL = "this is JPEG XL: convert it to JPEG or PNG first"
_MANGLED = "this is a picture that was read as text, which destroys it: open the file in binary mode"
_ADDRESS = "this is an address: download the picture and send its bytes"
_HTML = "this is HTML, a web page and not a picture: check the address that it came from"
_BASE64 = "this is base64 text of a picture (encoded twice?): decode it once more, then send it"
_BASE64_TWICE = "this is base64 text of base64 text of a picture: decode it twice, then send it"

# Each row has a place in the file, the bytes at that place, and a sentence. The first row that fits counts.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "this is a GIF: send one of its frames as PNG"),
    (0, b"BM", "this is BMP: convert it to PNG first"),
    (0, b"II*\0", _RAW),
    (0, b"MM\0*", _RAW),
    (0, b"II+\0", _RAW),
    (0, b"MM\0+", _RAW),
    (0, b"FUJIFILM", _RAW),
    (4, b"ftypheic", _HEIC),
    (4, b"ftypheix", _HEIC),
    (4, b"ftypheim", _HEIC),
    (4, b"ftypheis", _HEIC),
    (4, b"ftyphevc", _HEIC),
    (4, b"ftyphevx", _HEIC),
    (4, b"ftypmif1", _HEIC),
    (4, b"ftypmsf1", _HEIC),
    (4, b"ftypavif", _AVIF),
    (4, b"ftypavis", _AVIF),
    (4, b"ftypcrx ", _RAW),
    (4, b"ftyp", _VIDEO),
    (4, b"moov", _VIDEO),
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),
    (8, b"AVI ", _VIDEO),
    (0, b"\0\0\0\x0cjP  ", _JPEG_2000),
    (0, b"\xff\x4f\xff\x51", _JPEG_2000),
    (0, b"\xff\x0a", _JPEG_XL),
    (0, b"\0\0\0\x0cJXL ", _JPEG_XL),
    (0, b"\0\0\1\0", "this is an icon (ICO): convert it to PNG first"),
    (0, b"8BPS", "this is a Photoshop file: export it as PNG first"),
    (0, b"\x76\x2f\x31\x01", "this is OpenEXR: convert it to PNG first"),
    (0, b"#?RADIANCE", "this is Radiance HDR: convert it to PNG first"),
    (128, b"DICM", "this is DICOM: render it to PNG first"),
    (0, b"\x93NUMPY", "this is a NumPy file: send its array as pixels, or convert it to PNG"),
    (0, b"%PDF", "this is a PDF: render one of its pages to PNG first"),
    (0, b"PK\3\4", "this is a ZIP archive: send the pictures in it one by one"),
    (0, b"\x1f\x8b", "this is compressed with gzip: decompress it first"),
    (0, b"version https://git-lfs", "this is a git-lfs pointer and not the picture: run git lfs pull"),
    (0, b"\xc3\xbf\xc3\x98", _MANGLED),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", _MANGLED),
    (0, b"\xef\xbf\xbdPNG", _MANGLED),
    (0, b"\xc2\x89PNG", _MANGLED),
    (0, b"\x89PNG\n", _MANGLED),
    (0, b"\x89PNG\r\r\n", _MANGLED),
    (0, b"b'\\x", _MANGLED),
    (0, b'b"\\x', _MANGLED),
    (0, b"data:", "this is a data: URI: send the bytes that it encodes"),
    (0, b"http://", _ADDRESS),
    (0, b"https://", _ADDRESS),
)
_HEAD_BYTES = 1024
_HTML_TAGS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--")


def picture_type(data: bytes) -> str:
    """ "JPEG", "PNG" or "WEBP" by the first bytes; "" if the server takes none such."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height as stored, from the header alone; zeros where they cannot be read."""
    kind = picture_type(data)
    if kind == "PNG":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "JPEG":
        return _jpeg_size(data)
    return _webp_size(data) if kind == "WEBP" else (0, 0)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return (
            int.from_bytes(data[26:28], "little") & 0x3FFF,
            int.from_bytes(data[28:30], "little") & 0x3FFF,
        )
    return 0, 0


def describe_foreign(data: bytes) -> str:
    """What the bytes are and what to do; "" for a picture that the server may take, and for the unknown."""
    head = bytes(data[:_HEAD_BYTES])
    if picture_type(head):
        return ""
    for at, signature, description in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            return description
    if head[:1] == b"P" and head[1:2] in b"1 2 3 4 5 6 7".split() and head[2:3] in (b"\n", b" "):
        return "this is a Netpbm picture: convert it to PNG first"
    return _describe_text(head)


def decode_base64(text: bytes) -> bytes | None:
    """The picture that base64 text holds, of either alphabet and with or without padding and line ends; None if the
    text is anything else."""
    compact = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    if not _decoded_head(compact):
        return None
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _decoded_head(text: bytes) -> bytes:
    """The beginning of what base64 text decodes to, if that is a picture."""
    decoded = _decode_prefix(text)
    return decoded if picture_type(decoded) else b""


def _decode_prefix(text: bytes) -> bytes:
    compact = b"".join(text[:_HEAD_BYTES].split()).translate(bytes.maketrans(b"-_", b"+/"))
    digits = 0
    while digits < len(compact) and (compact[digits : digits + 1].isalnum() or compact[digits] in b"+/"):
        digits += 1
    return base64.b64decode(compact[: digits // 4 * 4])


def _describe_text(head: bytes) -> str:
    text = head[3:] if head.startswith(b"\xef\xbb\xbf") else head
    text = text.lstrip(b" \t\r\n")
    if picture_type(text):
        return "this is a picture with blanks before its first byte: send the file as it is"
    once = _decode_prefix(text.lstrip(b"\"'"))
    if picture_type(once):
        return _BASE64
    if _decoded_head(once):
        return _BASE64_TWICE
    lowered = text.lower()
    if lowered.startswith(_HTML_TAGS):
        return _HTML
    if b"<svg" in lowered:
        return "this is SVG: render it to PNG first"
    if lowered.startswith(b"<"):
        return "this is XML and not a picture: it may be the error of a download"
    if lowered.startswith((b"{", b"[")):
        return "this is JSON and not a picture: it may be the error of a download"
    return ""
