# SPDX-License-Identifier: Apache-2.0
"""Outlines of the geometric shapes, drawn alike into the picture and into the map of object numbers."""

from __future__ import annotations

import math

from PIL import ImageDraw

Point = tuple[float, float]
RING_WIDTH = 0.38  # of the radius
_STAR_INNER, _CROSS_ARM, _HEART_STEPS = 0.42, 0.33, 28


def outline(shape: str, radius: float, angle: float) -> list[Point]:
    """Corners around the origin; every one lies within `radius` of it."""
    if shape == "star":
        polar = [(radius if k % 2 == 0 else radius * _STAR_INNER, angle + math.pi * k / 5) for k in range(10)]
        return [(r * math.cos(t), r * math.sin(t)) for r, t in polar]
    if shape == "cross":
        arm, end = radius * _CROSS_ARM, radius * 0.94
        quarter = [(-arm, -end), (arm, -end), (arm, -arm)]
        turned = [_turn(point, math.pi / 2 * k) for k in range(4) for point in quarter]
        return [_turn(point, angle) for point in turned]
    if shape == "heart":
        return [_turn(point, angle) for point in _heart(radius)]
    corners = {"triangle": 3, "square": 4, "pentagon": 5}[shape]
    return [(radius * math.cos(angle + 2 * math.pi * k / corners), radius * math.sin(angle + 2 * math.pi * k / corners))
            for k in range(corners)]


def draw(canvas: ImageDraw.ImageDraw, shape: str, centre: Point, radius: float, angle: float,
         fill: int | tuple[int, int, int]) -> None:
    x, y = centre
    if shape in ("circle", "ring"):
        box = (x - radius, y - radius, x + radius, y + radius)
        if shape == "circle":
            canvas.ellipse(box, fill=fill)
        else:
            canvas.ellipse(box, outline=fill, width=max(1, round(radius * RING_WIDTH)))
        return
    canvas.polygon([(x + dx, y + dy) for dx, dy in outline(shape, radius, angle)], fill=fill)


def _turn(point: Point, angle: float) -> Point:
    x, y = point
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def _heart(radius: float) -> list[Point]:
    points = []
    for step in range(_HEART_STEPS):
        t = 2 * math.pi * step / _HEART_STEPS
        x = 16 * math.sin(t) ** 3
        y = -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
        points.append((x * radius / 17.5, y * radius / 17.5))
    return points
