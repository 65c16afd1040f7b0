"""SharpDepth's full pipeline (arXiv 2411.18229) as a refiner of the whole frame: a latent diffusion U-Net, asked twice in one step.

It reads the folder of the published checkpoint (``unet``, ``vae``, ``scheduler``, ``text_encoder``, ``tokenizer``) through
diffusers and transformers, the extra ``sharpdepth``. The metric depth is the coarse model's, whichever that is. Other than the
published code, scale and shift are found robustly, and the noise is the same in every frame. Not tested with the published weights:
its arithmetic is, on small random networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE, Fused, Needs, RefinerInput
from depth_retrofit_ros.refinement.sharp.disagreement import AGREES, disagreement, mixed
from depth_retrofit_ros.refinement.tiles.refiner import require_float32
from depth_retrofit_ros.scale.affine import robust_fit
from depth_retrofit_ros.upsampling.interpolation import bilinear, sample_at

NAME = "sharpdepth"
LONG_SIDE = 768  # px at which the networks see the frame, as its authors choose
LATENT = 8  # px a side of the image for one of the latent
PARTS = ("unet", "vae", "scheduler", "text_encoder", "tokenizer")
SEED = 20
TASK = (1.0, 0.0)  # depth, as the U-Net was trained to be told


@dataclass(frozen=True, slots=True)
class Networks:
    """unet: of 8 channels, image and depth latents, to the clean depth latent at the last timestep; vae: to and from latents;
    scheduler: for its noise at that step; prompt ``[1, L, C]``: the embedding of the empty prompt; task: see ``task_of``."""

    unet: Any
    vae: Any
    scheduler: Any
    prompt: Tensor
    task: Tensor

    def encoded(self, values: Tensor) -> Tensor:
        """``[1, 3, h, w]`` −1…1 → the mean latent ``[1, 4, h / 8, w / 8]``."""
        latent: Tensor = self.vae.encode(values).latent_dist.mean
        return latent * self.vae.config.scaling_factor

    def decoded(self, latent: Tensor) -> Tensor:
        """→ depth ``[1, h, w]``, about −1…1."""
        image: Tensor = self.vae.decode(latent / self.vae.config.scaling_factor).sample
        return image.mean(1)

    def denoised(self, image: Tensor, start: Tensor) -> Tensor:
        """The clean depth latent, all ``[1, 4, h / 8, w / 8]``."""
        inputs = torch.cat((image, start), 1), self.timestep(start.device).to(start.dtype)
        clean: Tensor = self.unet(*inputs, encoder_hidden_states=self.prompt, class_labels=self.task).sample
        return clean

    def noised(self, latent: Tensor, noise: Tensor) -> Tensor:
        """At the last timestep, where hardly anything but noise is left."""
        made: Tensor = self.scheduler.add_noise(latent, noise, self.timestep(latent.device))
        return made

    def timestep(self, device: torch.device) -> Tensor:
        """The last one, ``int64 [1]``."""
        return torch.full((1,), self.scheduler.config.num_train_timesteps - 1, dtype=torch.int64, device=device)


class SharpDepthPipeline:
    """Runs the networks on the whole frame, and answers at the selected pixels."""

    name = NAME
    needs: Needs = "frame"

    def __init__(self, networks: Networks, long_side: int = LONG_SIDE) -> None:
        self.networks, self.long_side = networks, long_side
        self._noise = torch.empty(0)

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return "diffusers in float32"

    @torch.no_grad()
    def refine(self, given: RefinerInput) -> tuple[Tensor, Tensor]:
        """Coarse depth and ln(refined / coarse), ``[K]`` each."""
        pixels, size = given.pixels.indices, given.size
        coarse = given.depth.flatten()[pixels]
        if not pixels.numel():
            return coarse, torch.zeros_like(coarse)
        low = fitting(size, self.long_side)
        image = bilinear(given.image.permute(2, 0, 1).float() / 255, low, antialias=True)
        refined = self.sharpened(image, bilinear(given.depth[None], low, antialias=True)[0])
        told = sample_at(refined[..., None], pixels, size)[:, 0]
        change = (told / coarse).clamp_min(torch.finfo(told.dtype).tiny).log()
        return coarse, change.clamp(-LARGEST_CHANGE, LARGEST_CHANGE)

    def fuse(self, refined: tuple[Tensor, Tensor]) -> Fused:
        """The refined value everywhere."""
        coarse, change = refined
        return Fused(torch.zeros_like(coarse), coarse * change.exp())

    def sharpened(self, image: Tensor, depth: Tensor) -> Tensor:
        """image ``[3, h, w]`` 0…1, depth ``[h, w]`` → sharp depth ``[h, w]`` in the scale of ``depth``. Where that is not
        finite the networks are shown its median, and scale and shift are not told from it."""
        networks, (height, width), known = self.networks, depth.shape, depth.isfinite()
        depth = torch.where(known, depth, depth.nanmedian().nan_to_num(1.0, 1.0, 1.0))
        margin = (0, -width % LATENT, 0, -height % LATENT)
        colors, metric = F.pad(image[None], margin, mode="replicate"), F.pad(depth[None, None], margin, mode="replicate")[0]
        low, high = metric.amin(), metric.amax()
        coarse = 2 * (metric - low) / (high - low).clamp_min(torch.finfo(depth.dtype).tiny) - 1
        seen, coarse_latent = networks.encoded(2 * colors - 1), networks.encoded(coarse[None].repeat(1, 3, 1, 1))
        first, second = self.noise(seen)
        sharp = networks.denoised(seen, first)
        apart = disagreement(networks.decoded(sharp), coarse)
        share = F.interpolate(apart[None], scale_factor=1 / LATENT)
        answer = networks.decoded(networks.denoised(seen, mixed(share, networks.noised(sharp, second), coarse_latent)))
        answer, apart = answer[0, :height, :width], apart[0, :height, :width]
        trusted = (apart < AGREES) & known
        return robust_fit(answer.flatten(), depth.flatten(), trusted.flatten()).of(answer.flatten()).view_as(depth)

    def noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Of the two passes, the same whenever frames are of one size; that of the last size is kept."""
        if self._noise.shape[1:] != like.shape:
            self._noise = torch.randn(2, *like.shape, generator=torch.Generator().manual_seed(SEED)).to(like)
        return self._noise[0], self._noise[1]


def task_of(device: torch.device) -> Tensor:
    """What the U-Net is told that it is to make, ``[1, 4]``: sent once, and not with each frame."""
    task = torch.tensor([TASK])
    return torch.cat((task.sin(), task.cos()), 1).to(device)


def fitting(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The size (h, w) whose long side is that."""
    return max(1, size[0] * long_side // max(size)), max(1, size[1] * long_side // max(size))


def load(path: Path, device: torch.device, backend: str, precision: str) -> SharpDepthPipeline:
    """Of a folder of the published layout. Raises WeightsError or ModelError."""
    require_float32(NAME, backend, precision)
    missing = [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise WeightsError(f"{path} is no checkpoint of {NAME}: it lacks the folders {', '.join(missing)}")
    try:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        why = f"refiner {NAME} needs diffusers and transformers ({first_line(error)})"
        raise ModelError(f"{why}: pip install 'depth_retrofit_ros[sharpdepth]'") from None
    try:
        unet, vae, text = (
            of.from_pretrained(path / part, local_files_only=True).to(device, torch.float32).eval().requires_grad_(False)
            for of, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"), (CLIPTextModel, "text_encoder"))
        )
        scheduler = DDIMScheduler.from_pretrained(path / "scheduler", local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(path / "tokenizer", local_files_only=True)
        with torch.no_grad():
            prompt = text(tokenizer("", padding="do_not_pad", return_tensors="pt").input_ids.to(device))[0]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"cannot load {NAME} from {path} ({first_line(error)}): unpack the published checkpoint anew") from None
    return SharpDepthPipeline(Networks(unet, vae, scheduler, prompt, task_of(device)))
