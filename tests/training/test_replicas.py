# SPDX-License-Identifier: Apache-2.0
"""Replicas give gradients of the parameters that they were shown, and the trainer's mean counts every example once."""

from collections.abc import Callable

import pytest
import torch
from paligemma_train.replicas import Replicas
from torch import nn

EXAMPLES = 3


def make_work(scale: float, number: int) -> tuple[list[nn.Parameter], Callable[[float], int]]:
    """Gradients are the parameters times `scale` and the replica's number, from the second half of the run on."""
    parameter = nn.Parameter(torch.zeros(2))

    def compute(part: float) -> int:
        parameter.grad = (part >= 0.5) * scale * number * parameter.detach().clone()
        return EXAMPLES

    return [parameter], compute


def collected(replicas: Replicas, parameter: nn.Parameter) -> torch.Tensor:
    """What is there besides gradients of 0 for one example; waits until something is."""
    total = 1
    while total == 1:
        parameter.grad = torch.zeros(2)
        total = replicas.add_gradients(1)
    assert (total - 1) % EXAMPLES == 0
    return parameter.grad * total / EXAMPLES


@pytest.fixture
def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0]))


def test_without_replicas_gradients_are_left_alone(parameter: nn.Parameter) -> None:
    replicas = Replicas(0, [parameter], make_work, (10.0,))
    parameter.grad = torch.tensor([5.0, 6.0])
    assert replicas.add_gradients(7) == 7
    replicas.publish(0.5)
    assert parameter.grad.tolist() == [5.0, 6.0]


def test_a_replica_follows_parameters_and_part(parameter: nn.Parameter) -> None:
    replicas = Replicas(1, [parameter], make_work, (10.0,))
    assert collected(replicas, parameter).tolist() == [0.0, 0.0]
    with torch.no_grad():
        parameter.mul_(2)
    replicas.publish(0.5)
    while not (found := collected(replicas, parameter)).any():
        pass
    assert found.tolist() == [20.0, -40.0]
    replicas.close()


def test_gradients_are_the_mean_over_all_examples(parameter: nn.Parameter) -> None:
    replicas = Replicas(2, [parameter], make_work, (1.0,))
    replicas.publish(1.0)
    total = 0
    while total != 1 + 2 * EXAMPLES or not torch.equal(parameter.grad, (1 + 3 * (1 + 2)) / 7 * parameter.detach()):
        parameter.grad = parameter.detach().clone()
        total = replicas.add_gradients(1)
    replicas.close()
