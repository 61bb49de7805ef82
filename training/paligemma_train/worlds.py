# SPDX-License-Identifier: Apache-2.0
"""Which scene stands at which place of a stream: any scene depends on its stream's name and its own index only."""

from __future__ import annotations

from random import Random

from paligemma_train import everyday, lettering, scene
from paligemma_train.scene import Scene

KINDS = ("geometric", "everyday", "text")
TEXT_SHARE, EVERYDAY_SHARE = 0.24, 0.18  # of all, and of those without text


def random_of(stream: str, index: int) -> Random:
    return Random(f"{stream}/{index}")


def render(rng: Random, kind: str | None = None, most_things: int = 6, least_things: int = 1,
           text_share: float = TEXT_SHARE, everyday_share: float = EVERYDAY_SHARE) -> Scene:
    """`most_things` grows with the curriculum; text grows along with it."""
    rest = 1 - text_share
    kind = kind or rng.choices(KINDS, (rest * (1 - everyday_share), rest * everyday_share, text_share))[0]
    if kind == "everyday":
        return everyday.scene(rng)
    if kind == "text":
        return lettering.scene(rng, most_lines=min(3, 1 + most_things // 2), longest=min(8, 2 + most_things))
    if least_things == 1 and most_things == 6 and rng.random() < 0.03:
        least_things = most_things = 0  # an empty scene, which has a count too
    return scene.geometric(rng, most_things, least_things)
