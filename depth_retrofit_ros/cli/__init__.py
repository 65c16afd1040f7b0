"""The commands of ``depth-retrofit``, one file each: ``add_parser(subparsers)`` declares it and sets ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from typing import TypeAlias

    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # the only name that argparse has for it
