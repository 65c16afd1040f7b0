"""Files that are run and not imported, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_script(path: Path) -> ModuleType:
    """The script or launch file at ``path``, executed once more as the module of its stem."""
    specification = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module
