# SPDX-License-Identifier: Apache-2.0
"""Fetches a picture from an address, where the caller asks for it by name. Nothing else here fetches anything."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from paligemma_serving import v1
from paligemma_serving.errors import ImageError, image_error
from paligemma_serving.images import to_image

MAX_BYTES = 64 << 20
_AGENT = {"User-Agent": "paligemma-serving", "Accept": "image/jpeg, image/png, image/webp"}


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def image_from_url(url: str, *, timeout: float = 30.0, max_bytes: int = MAX_BYTES) -> v1.Image:
    """Downloads an http or https address from this machine and returns the picture.

    A service that passes on what its users type must check the address first: this fetches all that the machine
    reaches.

    Raises ImageError where the answer is no picture or exceeds `max_bytes`, OSError where nothing comes.
    """
    _check_scheme(url)
    opener = urllib.request.build_opener(_HttpOnly)
    try:
        with opener.open(urllib.request.Request(url, headers=_AGENT), timeout=timeout) as answer:
            data = answer.read(max_bytes + 1)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: the server answered {error.code} {error.reason}") from None
    if len(data) > max_bytes:
        raise image_error(
            f"{url}: more than {max_bytes} bytes came",
            "IMAGE_TOO_LARGE",
            value=f"{len(data)} or more",
            limit=str(max_bytes),
        )
    try:
        return to_image(data)
    except ImageError as error:
        raise image_error(f"{url}: {error.message}", error.reason) from None


def _check_scheme(url: str) -> None:
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{url}: only http and https addresses are fetched; open anything else yourself")
