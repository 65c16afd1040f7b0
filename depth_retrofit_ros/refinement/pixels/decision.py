"""What the U-Net's output says at each pixel: a choice between candidate surfaces by their fitness, and a small residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.decision_cpu import decision_kernel
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures, start_of

TERMS = 3  # of a candidate's fitness: its place, the place squared, its colour distance
OUTPUTS = COUNT + TERMS + 1  # the last one is the residual
PLACE_SCALE = 4.0  # a candidate's place: ln(candidate / coarse) times this
FARTHEST_PLACE = 5.0
RESIDUAL_SCALE = 0.25


@dataclass(frozen=True, slots=True)
class Refinement:
    """change ``[K]``: ln(refined / coarse); entropy ``[K]``: H(refined), of the choice between candidates, nats; log_choice
    ``[K, COUNT]``: ln of the probability of each candidate, None in inference mode, where nobody asks for it."""

    change: torch.Tensor
    log_choice: torch.Tensor | None
    entropy: torch.Tensor


def decide(out: torch.Tensor, features: PixelFeatures) -> Refinement:
    """What the U-Net's output ``float32 [K, OUTPUTS]`` says; in inference mode on a CPU by the compiled pass."""
    if not torch.is_inference_mode_enabled():
        return decide_by_torch(out, features)
    if has_kernels(out.device):
        from depth_retrofit_ros.refinement.pixels import decision_triton

        at = start_of("candidates"), start_of("colors")
        constants = PLACE_SCALE, FARTHEST_PLACE, RESIDUAL_SCALE
        change, entropy = decision_triton.decide(out, features.rows, at, COUNT, constants)
        return Refinement(change, None, entropy)
    if out.device.type != "cpu":
        return decide_by_torch(out.float(), features)
    change, entropy = torch.empty(out.shape[0]), torch.empty(out.shape[0])
    arrays = [array.contiguous().numpy() for array in (out, features.rows, change, entropy)]
    scales = [np.float32(scale) for scale in (PLACE_SCALE, FARTHEST_PLACE, RESIDUAL_SCALE)]
    counter = np.zeros(1, np.int64)
    compiled = decision_kernel(COUNT, features.rows.shape[1], start_of("candidates"), start_of("colors"))
    THREAD_POOL.run(lambda: compiled(*arrays, *scales, counter))
    return Refinement(change, None, entropy)


def decide_by_torch(out: torch.Tensor, features: PixelFeatures) -> Refinement:
    """``decide`` in plain torch, with gradients: the specification of the compiled pass, and what runs on CUDA without Triton."""
    log_choice = (out[:, :COUNT] + fitness(features, out[:, COUNT : COUNT + TERMS])).log_softmax(1)
    choice = log_choice.exp()
    change = (choice * features.candidates).sum(1) + RESIDUAL_SCALE * out[:, -1]
    return Refinement(change, log_choice, -(choice * log_choice).sum(1))


def fitness(features: PixelFeatures, terms: torch.Tensor) -> torch.Tensor:
    """``[K, COUNT]``: what each candidate's place and colour say for it, by the coefficients ``terms [K, TERMS]``."""
    place = (features.candidates * PLACE_SCALE).clamp(-FARTHEST_PLACE, FARTHEST_PLACE)
    return torch.addcmul(terms[:, 2:] * features.colors, terms[:, :1] + terms[:, 1:2] * place, place)
