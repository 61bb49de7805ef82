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


def collected(replicas: Replicas, parameter: nn.Parameter) -> tuple[torch.Tensor, int]:
    """The mean gradient of the replicas and of how many examples; waits until there is one."""
    total = 1
    while total == 1:
        parameter.grad = torch.zeros(2)
        total = replicas.add_gradients(1)
    return parameter.grad * total / (total - 1), total - 1


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
    assert collected(replicas, parameter)[0].tolist() == [0.0, 0.0]
    with torch.no_grad():
        parameter.mul_(2)
    replicas.publish(0.5)
    while not torch.allclose(collected(replicas, parameter)[0], torch.tensor([20.0, -40.0])):
        pass
    replicas.close()


def test_gradients_are_the_mean_over_all_examples(parameter: nn.Parameter) -> None:
    replicas = Replicas(2, [parameter], make_work, (1.0,))
    replicas.publish(1.0)
    came: set[int] = set()
    while came != {1, 2}:
        gradient, examples = collected(replicas, parameter)
        scale = gradient / parameter.detach()
        if scale[0] < 0.9:  # computed before the part was published
            continue
        of_second = float(scale[0] - 1) * examples  # whose gradients are twice the first's
        assert scale[0] == pytest.approx(float(scale[1]))
        assert of_second == pytest.approx(EXAMPLES * round(of_second / EXAMPLES), abs=1e-2 * examples)
        came |= {2} if of_second > 1 else set()
        came |= {1} if examples - of_second > 1 else set()
    replicas.close()


def test_what_was_not_taken_is_joined(parameter: nn.Parameter) -> None:
    replicas = Replicas(1, [parameter], make_work, (1.0,))
    most = 0
    while most < 3 * EXAMPLES:  # the trainer is slower than its replica, which waits for nothing
        _, examples = collected(replicas, parameter)
        assert examples % EXAMPLES == 0
        most = max(most, examples)
        replicas._processes[0].join(0.001)
    replicas.close()
