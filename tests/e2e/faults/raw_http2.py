# SPDX-License-Identifier: Apache-2.0
"""The least of HTTP/2 that begins a gRPC call: for clients that break off, that do not read, whose deadline is past.

A real gRPC library would not do such things, and is too heavy to be killed thousands of times.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
LARGEST_FRAME = 16384


@dataclass(frozen=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def _literal(name: str, value: str) -> bytes:
    """A header without compression."""
    encoded = b"\0"
    for text in (name, value):
        raw = text.encode()
        assert len(raw) < 127
        encoded += bytes([len(raw)]) + raw
    return encoded


class Connection:
    """One TCP connection; a context manager that closes it."""

    def __init__(self, port: int, window: int = 65535) -> None:
        """`window`: bytes of a stream that the server may send before it is told to go on."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._next_stream = 1
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(PREFACE + self._frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, path: str, message: bytes, **headers: str) -> int:
        """Sends a whole unary request and half-closes; returns the stream's number."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
            "content-type": "application/grpc", "te": "trailers",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        block = b"".join(_literal(name, value) for name, value in fields.items())
        body = b"\0" + struct.pack(">I", len(message)) + message
        assert len(body) <= LARGEST_FRAME
        self._socket.sendall(
            self._frame(HEADERS, END_HEADERS, stream, block) + self._frame(DATA, END_STREAM, stream, body)
        )
        return stream

    def next_frame(self) -> Frame:
        """The next frame of a stream; answers settings and pings by itself."""
        while True:
            head = self._read(9)
            length = int.from_bytes(head[:3], "big")
            frame = Frame(head[3], head[4], int.from_bytes(head[5:], "big"), self._read(length))
            if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                self._socket.sendall(self._frame(frame.kind, ACK, 0, frame.payload if frame.kind == PING else b""))
            if frame.stream != 0:
                return frame

    def await_kind(self, *kinds: int) -> Frame:
        """Reads until a frame of one of these kinds comes."""
        while (frame := self.next_frame()).kind not in kinds:
            pass
        return frame

    def open_window(self, size: int) -> None:
        """Lets the server send this much more, on the connection and on each stream."""
        self._socket.sendall(
            self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", size))
            + self._frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, size))
        )

    def abort(self) -> None:
        """Breaks the connection off with a TCP reset, as the kernel does for a process that was killed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := self._socket.recv(size - len(data))):
                raise ConnectionError("the server closed the connection")
            data += more
        return data
