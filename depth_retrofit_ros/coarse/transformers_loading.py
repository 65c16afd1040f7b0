"""Networks of ``transformers`` (optional extra ``depth-anything``) from a checkpoint: complete, silent, nothing of it executed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line, load_tensors, require_finite

NEVER_RUN = "neck.fusion_stage.layers.0.residual_layer1."
"""The first layer of a DPT's fusion has nothing to add to: its network lists these weights, most checkpoints leave them out."""
_DERIVED = ".relative_position_index"  # stored by some versions of the library, computed by others


def load_network(weights: Path, name: str, class_name: str, optional: tuple[str, ...] = ()) -> Any:
    """A network of the class ``transformers.<class_name>``, every parameter of it read from the file.

    weights: the tensors' file, with its ``config.json`` beside it; name: of the model, for the words; optional: prefixes of
    parameters that never run, and may be missing. Raises ModelError without ``transformers``, WeightsError for a checkpoint that is
    incomplete, corrupt, or of another network.
    """
    try:
        import transformers
    except ImportError:
        raise ModelError(f"model '{name}' needs transformers: pip install 'depth_retrofit_ros[depth-anything]'") from None
    if not hasattr(transformers, class_name):
        raise ModelError(
            f"model '{name}' needs a newer transformers than {transformers.__version__}, one with {class_name}: "
            "pip install --upgrade transformers"
        )
    net_class = getattr(transformers, class_name)
    tensors, _ = load_tensors(weights)
    require_finite(tensors, weights)
    return _build(net_class, _read_config(net_class.config_class, weights.with_name("config.json")), tensors, weights, optional)


def require_if_stated(net: Any, key: str, wanted: object, weights: Path, name: str) -> None:
    """``require_setting`` where the configuration says anything of it; what published files leave out tells no models apart."""
    if getattr(net.config, key, None) is not None:
        require_setting(net, key, wanted, weights, name)


def require_setting(net: Any, key: str, wanted: object, weights: Path, name: str) -> None:
    """Raises WeightsError where the checkpoint's configuration makes it another model than the one of this name."""
    found = getattr(net.config, key)
    if found != wanted:
        raise WeightsError(f"checkpoint {weights} has {key} {found} but '{name}' has {wanted}: give it to the other model")


def _read_config(config_class: Any, path: Path) -> Any:
    kind = config_class.model_type
    if not path.is_file():
        raise WeightsError(f"{path} is missing: it belongs beside the weights, fetch both")
    try:
        settings = json.loads(path.read_text())
        found = settings.get("model_type", kind)
        reason = None if found != kind else _reaches_out(settings)
        config = config_class(**_without_choices(settings)) if found == kind and reason is None else None
    except Exception as error:  # a configuration of another kind fails in as many ways as there are kinds
        raise WeightsError(
            f"{path} is not a configuration of {kind} ({first_line(error)}): delete it, and fetch the model again"
        ) from None
    if reason is not None:
        raise WeightsError(f"{path} has {reason}, which would bring code or files from elsewhere: give the published file")
    if config is None:
        raise WeightsError(f"{path} is a configuration of {str(found)[:40]}, not of {kind}: give the checkpoint to its own model")
    return config


_CHOICES = ("attn_implementation", "experts_implementation")  # within a key
"""How to compute: it may name a repository with kernels, and is no part of the network. The library's own choice is right."""
_CODE = ("auto_map", "trust_remote_code", "use_pretrained_backbone", "use_timm_backbone", "quantization_config")
"""What makes the library import code, or fetch weights other than the checkpoint's. Published files have some, switched off."""


def _reaches_out(settings: Mapping[str, Any]) -> str | None:
    """The first setting, at any depth, by which the library would go to the network or to other code; None without."""
    for key in _CODE:
        if settings.get(key):
            return key
    if settings.get("backbone") and not settings.get("backbone_config"):
        return f"backbone {str(settings['backbone'])[:40]} without a backbone_config"
    if "timm" in str(settings.get("model_type", "")):
        return f"model_type {str(settings['model_type'])[:40]}"
    for key, value in settings.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping) and (reason := _reaches_out(part)):
                return f"{key} with {reason}"
    return None


def _without_choices(value: Any) -> Any:
    """The settings without ``_CHOICES``, at any depth."""
    if isinstance(value, list):
        return [_without_choices(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_choices(part) for key, part in value.items() if not any(choice in key for choice in _CHOICES)}


def _build(net_class: Any, config: Any, tensors: dict[str, Tensor], weights: Path, optional: tuple[str, ...]) -> Any:
    """``from_pretrained`` rather than a plain state dict: it knows the parameters' names in each version of transformers."""
    try:
        with quiet(), offline():
            net, report = net_class.from_pretrained(
                None, config=config, state_dict=tensors, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # a configuration that parses can still describe a network that cannot be built
        raise WeightsError(f"checkpoint {weights} does not fit its config.json ({first_line(error)}): fetch both again") from None
    problems = []
    for kind, entries in report.items():
        names = sorted(_name(entry) for entry in entries)
        if kind == "missing_keys":
            names = [entry for entry in names if not entry.startswith(optional)]
        if kind == "unexpected_keys":
            names = [entry for entry in names if not entry.endswith(_DERIVED)]
        problems += [f"{kind.removesuffix('_keys')} {names[0]}"] if names else []
    if problems:
        raise WeightsError(f"checkpoint {weights} was made for another network ({'; '.join(problems)}): use its own model")
    return net


def _name(entry: str | tuple[str, Any, Any]) -> str:
    """Of a parameter in the load report, where mismatched ones come with both shapes."""
    return entry if isinstance(entry, str) else entry[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bar and load report: what is wrong is raised, in one line."""
    library: Any = import_module("transformers.utils.logging")
    verbosity, progress = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if progress:
            library.enable_progress_bar()


@contextmanager
def offline() -> Iterator[None]:
    """Without the network, whatever a configuration asks for: the hub's library refuses each request, in this process."""
    constants: Any = import_module("huggingface_hub.constants")
    was = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was
