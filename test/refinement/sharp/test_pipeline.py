"""SharpDepth's full pipeline, on small random networks of the published layout."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE
from depth_retrofit_ros.refinement.registry import load_refiner, resolved
from depth_retrofit_ros.refinement.sharp.pipeline import NAME, PARTS, Networks, SharpDepthPipeline, fitting, task_of
from test.refinement.tiles.test_refiner import given

CPU = torch.device("cpu")
SIZE = (72, 100)


def write_checkpoint(folder: Path) -> Path:
    """Random and tiny, of the kinds and the channels of the published one."""
    diffusers, transformers = (pytest.importorskip(name) for name in ("diffusers", "transformers"))
    torch.manual_seed(0)
    blocks = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}
    unet = diffusers.UNet2DConditionModel(
        in_channels=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
        **blocks,
    )
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = diffusers.AutoencoderKL(block_out_channels=(4, 4, 8, 8), norm_num_groups=2, **kinds)
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    of_text = {"vocab_size": 4, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(bos_token_id=0, eos_token_id=1, **of_text))
    for name, part in {"unet": unet, "vae": vae, "scheduler": scheduler, "text_encoder": text}.items():
        part.save_pretrained(folder / name)
    (folder / "tokenizer").mkdir()
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("sharpdepth"))


def test_a_folder_is_loaded_as_the_pipeline(checkpoint: Path) -> None:
    refiner = load_refiner(checkpoint, CPU)
    assert (refiner.name, refiner.needs) == (NAME, "frame")
    frame = given(SIZE)
    gate, depth, *_ = refiner.fuse(refiner.refine(frame))
    coarse = frame.depth.flatten()[frame.pixels.indices]
    change = (depth / coarse).log().abs()
    assert depth.isfinite().all() and not gate.any()
    assert 1e-3 < float(change.max()) < LARGEST_CHANGE + 1e-4
    again = refiner.fuse(refiner.refine(frame)).depth
    assert torch.equal(again, depth)  # the noise is frozen
    scaled = refiner.fuse(refiner.refine(given(SIZE, factor=37.0))).depth
    torch.testing.assert_close(scaled, 37.0 * depth, rtol=1e-2, atol=0)


class Written:
    """Networks written down: the latent is the mean of each cell, and noise leaves the truth but for a shift."""

    def __init__(self, truth: torch.Tensor) -> None:
        self.truth, self.starts = truth, list[torch.Tensor]()

    def networks(self) -> Networks:
        outer = self

        class Written(Networks):
            def encoded(self, values: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.avg_pool2d(values[:, :1], 8).repeat(1, 4, 1, 1)

            def decoded(self, latent: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.interpolate(latent[:, :1], scale_factor=8)[0]

            def denoised(self, image: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
                outer.starts.append(start)
                return outer.truth

            def noised(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
                return noise

        return Written(None, None, None, torch.zeros(1, 1, 1), task_of(CPU))


def test_the_sharp_answer_is_brought_to_the_coarse_scale_where_they_agree() -> None:
    """Of a coarse depth that is wrong in one column of cells, that alone changes, and is noise before the second pass."""
    depth = 2 + torch.arange(8.0).repeat_interleave(8).repeat(64, 1)
    truth = torch.nn.functional.avg_pool2d((2 * (depth - 2) / 7 - 1)[None, None], 8).repeat(1, 4, 1, 1)
    wrong = depth.clone()
    wrong[:, 24:32] = 8.5
    written = Written(truth)
    pipeline = SharpDepthPipeline(written.networks(), long_side=64)
    torch.testing.assert_close(pipeline.sharpened(torch.zeros(3, 64, 64), wrong), depth, rtol=1e-4, atol=1e-4)
    first, second = written.starts
    noise = pipeline.noise(first)
    assert torch.equal(first, noise[0])
    torch.testing.assert_close(second[..., 3], noise[1][..., 3])
    torch.testing.assert_close(second[..., 5], truth[..., 5])


def test_noise_of_other_sizes_is_not_kept() -> None:
    pipeline = SharpDepthPipeline(Written(torch.zeros(1, 4, 2, 2)).networks())
    first = [part.clone() for part in pipeline.noise(torch.zeros(1, 4, 2, 2))]
    pipeline.noise(torch.zeros(1, 4, 2, 3))
    again = pipeline.noise(torch.zeros(1, 4, 2, 2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    kept = [tensor for tensor in tree_leaves(vars(pipeline)) if isinstance(tensor, torch.Tensor)]
    assert sum(tensor.numel() for tensor in kept) == 2 * 16


def test_what_is_not_known_spoils_nothing_else() -> None:
    """Half a column of cells without depth: the rest comes out as it would."""
    depth = 2 + torch.arange(8.0).repeat_interleave(8).repeat(64, 1)
    truth = torch.nn.functional.avg_pool2d((2 * (depth - 2) / 7 - 1)[None, None], 8).repeat(1, 4, 1, 1)
    broken = depth.clone()
    broken[:32, 24:32], broken[40, 3] = torch.nan, torch.inf
    pipeline = SharpDepthPipeline(Written(truth).networks(), long_side=64)
    torch.testing.assert_close(pipeline.sharpened(torch.zeros(3, 64, 64), broken), depth, rtol=1e-4, atol=1e-4)
    assert bool(pipeline.sharpened(torch.zeros(3, 64, 64), torch.full((64, 64), torch.nan)).isfinite().all())


def test_what_the_network_is_told_is_not_made_anew() -> None:
    sine, cosine = task_of(CPU)[0].view(2, 2).double()
    assert sine.tolist() == pytest.approx([math.sin(1), 0]) and cosine.tolist() == pytest.approx([math.cos(1), 1])


def test_sizes_that_are_no_multiple_of_eight() -> None:
    assert fitting((1080, 1920), 768) == (432, 768) and fitting((7, 9000), 768) == (1, 768)
    written = Written(torch.linspace(-1, 1, 7).expand(1, 4, 5, 7))
    depth = torch.rand(37, 50) + 1
    assert SharpDepthPipeline(written.networks()).sharpened(torch.rand(3, 37, 50), depth).shape == (37, 50)


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    assert resolved(tmp_path) == (NAME, tmp_path)
    with pytest.raises(WeightsError, match="lacks the folders vae, scheduler, text_encoder, tokenizer"):
        load_refiner(tmp_path, CPU)


def test_missing_packages_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in PARTS:
        (tmp_path / part).mkdir()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModelError, match=r"depth_retrofit_ros\[sharpdepth\]"):
        load_refiner(tmp_path, CPU)


def test_a_broken_part_is_told(checkpoint: Path, tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part).mkdir()
    with pytest.raises(WeightsError, match="unpack the published checkpoint anew"):
        load_refiner(tmp_path, CPU)
