"""The registry: names, lazy loading, and where a checkpoint is looked for."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from depth_retrofit_ros.coarse import fetching
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.coarse.hub import is_pin
from depth_retrofit_ros.coarse.meter_net import MeterXXS
from depth_retrofit_ros.coarse.registry import MODELS, find_checkpoint, find_model, is_present, load_coarse
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import SEARCH_PATH_VARIABLE, bundled, save_tensors
from test.coarse.plugin_package import use_plugins, write_plugin

METER_FILE = "build_model_best_nyu_xxs"
SMALL = "depth-anything-v2-small"


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's weights nor their hub cache, and no network."""
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    try:
        from huggingface_hub import constants
    except ImportError:
        return
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_names_and_facts() -> None:
    assert list(MODELS)[:3] == ["compact", "meter-nyu", "meter-kitti"] and {SMALL, f"{SMALL}-indoor"} <= set(MODELS)
    for name, info in MODELS.items():
        assert info.name == name
        assert info.commercial is (info.license in ("Apache-2.0", "MIT", "VGGT (gated)"))
        assert info.parameters > 0 and info.size_mb > 0
        assert info.description and info.license
        if info.hub is not None:
            assert is_pin(info.hub.revision, info.hub.sha256) or info.hub[1:3] == (None, None)
            assert info.hub.files[-1] in info.files[0] and f"depth-retrofit models fetch {name}" in info.remedy
        assert info.remedy and "\n" not in info.remedy
    assert MODELS[SMALL].claim.word == "never"


@pytest.mark.parametrize(("name", "net"), [("compact", CompactNet), ("meter-nyu", MeterXXS), ("meter-kitti", MeterXXS)])
def test_networks_have_the_stated_size(name: str, net: type[nn.Module]) -> None:
    """Depth Anything's is tested beside its adapter. Only our own checkpoint is at hand to be weighed."""
    assert sum(parameter.numel() for parameter in net().parameters()) == MODELS[name].parameters
    stored = sum(value.numel() * value.element_size() for value in net().state_dict().values())
    if MODELS[name].bundled:
        stored = bundled(MODELS[name].files[0]).stat().st_size
    assert stored / 1e6 == pytest.approx(MODELS[name].size_mb, abs=0.15)


def test_unknown_name_says_where_the_names_are_and_guesses() -> None:
    with pytest.raises(
        ModelError, match=r"unknown model 'meter_nyu': did you mean 'meter-nyu'\? see 'depth-retrofit models' for all names$"
    ):
        find_model("meter_nyu")
    with pytest.raises(ModelError, match="unknown model 'xyz': see 'depth-retrofit models'"):
        load_coarse("xyz", weights=None, device="cpu")


def test_registry_and_adapters_import_no_optional_library() -> None:
    code = (
        "import sys, depth_retrofit_ros.coarse.registry, depth_retrofit_ros.coarse.depth_anything, depth_retrofit_ros.coarse.meter;"
        "print([m for m in ('transformers', 'huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_weights_from_file_folder_and_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, file = MODELS["meter-nyu"], tmp_path / "meter" / METER_FILE
    assert not is_present(info)
    torch.manual_seed(0)
    save_tensors(file, MeterXXS().state_dict(), {})
    for weights in (file, file.parent, tmp_path):
        assert find_checkpoint(info, weights) == file
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    assert is_present(info)
    assert not is_present(MODELS["meter-kitti"])
    model = load_coarse("meter-nyu", weights=None, device="cpu")
    assert (model.name, model.claim, model.device) == ("meter-nyu", info.claim, torch.device("cpu"))


def test_explicit_weights_are_not_replaced_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors(tmp_path / METER_FILE, MeterXXS().state_dict(), {})
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    (tmp_path / "empty").mkdir()
    for absent in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(WeightsError, match="lorenzopapa5/METER"):
            load_coarse("meter-nyu", weights=absent, device="cpu")


def test_a_folder_given_by_hand_need_not_have_the_hubs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the search path it must: model.safetensors alone tells nothing."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_checkpoint(MODELS[SMALL], tmp_path) == tmp_path / "model.safetensors"
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    assert not is_present(MODELS[SMALL])
    named = tmp_path / "Depth-Anything-V2-Small-hf" / "model.safetensors"
    named.parent.mkdir()
    named.write_bytes(b"")
    assert find_checkpoint(MODELS[SMALL], None) == named
    assert find_checkpoint(MODELS[SMALL], tmp_path) == named


def test_another_models_folder_is_not_searched_for_a_name_of_any_model(tmp_path: Path) -> None:
    """A folder with all that was fetched by hand: depth in metres must not come from the network beside the one that was named."""
    for folder, name in (
        ("DA3-BASE", "model.safetensors"),
        ("dpt-dinov2-small-kitti", "pytorch_model.bin"),
        ("moge-2-vitl-normal", "model.pt"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
    for name in (SMALL, "dpt-dinov2-small-nyu", "moge-2-small"):
        with pytest.raises(WeightsError, match="not found in"):
            find_checkpoint(MODELS[name], tmp_path)
    expected = tmp_path / "moge-2-vitl-normal" / "model.pt"
    assert find_checkpoint(MODELS["moge-2-large"], tmp_path) == find_checkpoint(MODELS["moge-2-large"], expected.parent) == expected


def test_weights_that_are_not_the_published_ones_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user's own may be right."""
    weights = tmp_path / "Depth-Anything-V2-Small-hf" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"mine")
    for given in (tmp_path, weights, weights.parent):
        assert find_checkpoint(MODELS[SMALL], given) == weights
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    assert find_checkpoint(MODELS[SMALL], None) == weights
    (line,) = caplog.messages
    assert line.startswith(f"checkpoint {weights} is not the published one of {SMALL} (SHA-256 differs): ") and "\n" not in line
    source = MODELS[SMALL].hub
    assert source is not None
    ours = dataclasses.replace(MODELS[SMALL], name="ours", hub=source._replace(sha256=hashlib.sha256(b"mine").hexdigest()))
    caplog.clear()
    assert find_checkpoint(ours, weights) == weights
    assert find_checkpoint(MODELS["depth-anything-v2-base"], weights) == weights, "no pin to compare with"
    assert caplog.messages == []


def test_hub_cache_counts_only_at_the_pinned_revision(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    source = MODELS[SMALL].hub
    assert source is not None and source.revision is not None
    snapshots = tmp_path / "hub" / "models--depth-anything--Depth-Anything-V2-Small-hf" / "snapshots"
    for revision, complete in (("0" * 40, True), (source.revision, False)):
        (snapshots / revision).mkdir(parents=True)
        (snapshots / revision / "config.json").write_text("{}")
        if complete:
            (snapshots / revision / "model.safetensors").write_bytes(b"")
    assert not is_present(MODELS[SMALL])
    weights = snapshots / source.revision / "model.safetensors"
    weights.write_bytes(b"the weights")
    assert is_present(MODELS[SMALL])
    pinned = source._replace(sha256=hashlib.sha256(b"the weights").hexdigest())
    assert find_checkpoint(dataclasses.replace(MODELS[SMALL], hub=pinned), None) == weights
    with pytest.raises(WeightsError, match=r"SHA-256 differs\): delete it"):
        find_checkpoint(MODELS[SMALL], None)


def test_a_bundled_model_s_missing_weights_do_not_ask_for_a_new_installation() -> None:
    with pytest.raises(WeightsError, match="the bundled ones are used") as caught:
        load_coarse("compact", weights=Path("/nowhere"), device="cpu")
    assert "reinstall" not in str(caught.value)


def test_what_is_not_here_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the hub's library and without it."""
    told = "the weights of depth-anything-v2-small are not here: depth-retrofit models fetch depth-anything-v2-small"
    with pytest.raises(WeightsError, match=f"^{told}$"):
        load_coarse(SMALL, weights=None, device="cpu")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert not is_present(MODELS[SMALL])
    with pytest.raises(WeightsError, match=f"^{told}$"):
        load_coarse(SMALL, weights=None, device="cpu")


def test_device_is_checked_before_weights_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "fetch", lambda *_: pytest.fail("fetched"))
    with pytest.raises(ModelError, match="unknown device 'tpu'"):
        load_coarse(SMALL, weights=None, device="tpu", allow_download=True)


def test_non_commercial_use_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    source = """
MODEL = entry("gratis", commercial=False, license="CC BY-NC 4.0")
class load:
    def __init__(self, weights, device, claim, size):
        self.device, self.claim = device, claim
    def predict(self, image, camera, hints):
        raise NotImplementedError
"""
    use_plugins(monkeypatch, write_plugin(tmp_path, "gratis", source, "gratis = gratis:MODEL"))
    for _ in range(2):
        load_coarse("gratis", weights=None, device="cpu")
    assert caplog.messages == ["gratis is for non-commercial use only (CC BY-NC 4.0)"]


def test_metres_of_one_domain_are_those_of_the_sizes_that_the_model_was_made_for(caplog: pytest.LogCaptureFixture) -> None:
    assert load_coarse("compact", weights=None, device="cpu", size="native").claim == MODELS["compact"].claim
    model = load_coarse("compact", weights=None, device="cpu", size=384)
    assert model.claim.word == "never"
    usual = "long side 256 and area of 192x192"
    assert caplog.messages == [f"compact is relative, up to an unknown scale at long side 384: its metres are those of {usual}"]
