# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in the place of `torchvision/extension.py` in the environment that runs the trainings to begin with.

That file loads torchvision's compiled operators. They are built against CUDA and cannot be loaded beside the build of
PyTorch for CPUs, of which package indexes have no torchvision. What an object detector needs of them is one function,
which is given here in PyTorch itself: the suppression of boxes that overlap a better one. All else of torchvision is
its own; what asks for another operator fails.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")
_LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
# Named when torchvision is imported, and by nothing else.
_LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _load_library(_name: str) -> bool:
    """Whether one of torchvision's own libraries is there."""
    return False


def _check_cuda_version() -> int:
    """With which CUDA the operators were built: with none."""
    return -1


def _has_ops() -> bool:
    """Whether all operators are there, whose other properties torchvision would then describe."""
    return False


def _assert_has_ops() -> None:
    """Called before one is used: what is not there fails by itself."""


def _nms(boxes: torch.Tensor, scores: torch.Tensor, most: float) -> torch.Tensor:
    """The indices of the boxes (x1, y1, x2, y2) that stay, best first: none overlaps a better one by more than `most`.

    By how much: the area of both over the area of either.
    """
    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order]
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    left = torch.ones_like(order, dtype=torch.bool)
    for place in range(len(order)):
        if left[place]:
            low = torch.maximum(corners[place, :2], corners[place + 1 :, :2])
            high = torch.minimum(corners[place, 2:], corners[place + 1 :, 2:])
            both = (high - low).clamp(min=0).prod(1)
            left[place + 1 :] &= ~(both / (areas[place] + areas[place + 1 :] - both) > most)
    return order[left]


_LIBRARY.impl("nms", _nms, "CPU")
