# SPDX-License-Identifier: Apache-2.0
"""Controls: a model with one thing wrong must change the tokens of at least a quarter of the cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import Tiny
from paligemma_export import kernels_decoder
from torch import Tensor

RIGHT = kernels_decoder.attend
SHARE = 0.25
STEP = 2  # every second case is enough, and faster


def prefix_of(image_tokens: int) -> Callable[..., Tensor]:
    """Attention where prompt row i sees max(i + 1, image_tokens) keys: 0 is causal, N image-only bidirectional."""

    def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float) -> Tensor:
        if q.size(0) == 1 or softcap == 0:  # a generated token, or the vision tower
            return RIGHT(q, k, v, scale, softcap)
        rows = [
            RIGHT(q[i : i + 1], k[: max(i + 1, image_tokens)], v[: max(i + 1, image_tokens)], scale, softcap)
            for i in range(q.size(0))
        ]
        return torch.cat(rows)

    return attend


def uncapped(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float) -> Tensor:
    return RIGHT(q, k, v, scale, 0.0)


def changed_share(tiny: Tiny, image_scale: float = 1.0) -> float:
    cases = tiny.cases[::STEP]
    return sum(tiny.tokens(case, image_scale) != case["token_ids"] for case in cases) / len(cases)


@pytest.mark.parametrize(
    "what", ["causal prompt", "image-only bidirectional", "no soft-cap", "scaled image rows"]
)
def test_a_wrong_model_changes_the_tokens(
    tinies: dict[str, Tiny], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, tiny in tinies.items():
        wrong = {
            "causal prompt": prefix_of(0),
            "image-only bidirectional": prefix_of(tiny.manifest["image"]["tokens"]),
            "no soft-cap": uncapped,
            "scaled image rows": RIGHT,
        }[what]
        monkeypatch.setattr(kernels_decoder, "attend", wrong)
        scale = tiny.manifest["architecture"]["hidden"] ** 0.5 if what == "scaled image rows" else 1.0
        share = changed_share(tiny, scale)
        assert share >= SHARE, f"{what} changes only {share:.0%} of the cases of {name}"
