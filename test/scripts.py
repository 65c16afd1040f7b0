"""Files that are run and not imported, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_script(path: Path) -> ModuleType:
    """The script or launch file at ``path``, executed once more as the module of its stem. It finds the modules beside it, as it
    does when it is run."""
    specification = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
