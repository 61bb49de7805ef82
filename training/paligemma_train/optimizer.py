# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices inside the layers, AdamW for everything else. README has what it gained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values towards 1


def orthogonal(updates: Tensor, steps: int = 5) -> Tensor:
    """[n,rows,columns] -> nearly the nearest matrices with orthonormal rows or columns, by Newton-Schulz."""
    a, b, c = _COEFFICIENTS
    tall = updates.size(1) > updates.size(2)
    x = (updates.mT if tall else updates).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal, so that all directions of a matrix move alike."""

    def __init__(self, parameters: Any, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.02):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                moves = orthogonal(torch.stack([self._momentum(p, group["momentum"]) for p in parameters])).float()
                rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(move, alpha=-rate)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum"], momentum)


class Optimizer:
    """Both as one. Rates are set before every step, as parts of the full ones."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], matrix_rate: float, rate: float):
        """What lies in `layers` of tower or decoder and has two dimensions is a matrix; names with `vision_tower` in
        front follow the tower's own part."""
        groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
        self.parameters = []
        for name, parameter in named:
            matrix = parameter.dim() == 2 and ".layers." in name
            decays = parameter.dim() > 1 and "embed" not in name
            groups.setdefault((matrix, decays, name.startswith("vision_tower.")), []).append(parameter)
            self.parameters.append(parameter)
        made: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for (matrix, decays, tower), parameters in groups.items():
            made[matrix].append({"params": parameters, "tower": tower, "full": matrix_rate if matrix else rate,
                                 "weight_decay": 0.02 if decays else 0.0})
        self._parts: list[torch.optim.Optimizer] = [
            Muon(made[True]), torch.optim.AdamW(made[False], betas=(0.9, 0.98), fused=True)]

    def step(self, part: float, tower_part: float | None = None) -> None:
        """One step at `part` of the full rates from the gradients, which are clipped before and cleared after."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self._parts:
            for group in optimizer.param_groups:
                own = part if tower_part is None or not group["tower"] else tower_part
                group["lr"] = group["full"] * own
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self._parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for optimizer, part in zip(self._parts, state, strict=True):
            full = [group["full"] for group in optimizer.param_groups]
            optimizer.load_state_dict(part)
            for group, rate in zip(optimizer.param_groups, full, strict=True):
                group["full"] = rate  # what this run asked for, not what an earlier one did
