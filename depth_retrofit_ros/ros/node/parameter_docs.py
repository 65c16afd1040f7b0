"""The table of parameters as docs/node.md and config/pipeline.yaml show it; run as a program (`make docs`), it writes both."""

from __future__ import annotations

import json
from pathlib import Path

from depth_retrofit_ros.ros.node.parameters import PARAMETERS, Parameter, Value

BEGIN, END = "<!-- parameters: written by `make docs` -->", "<!-- end of parameters -->"
_CHANGES = {"active": "live", "inactive": "inactive", "unconfigured": "unconfigured", None: "at start"}
_YAML_HEAD = """\
# Parameters of the depth node, written by `make docs`; the launch file's arguments outrank them.
/**:
  ros__parameters:
"""


def markdown() -> str:
    """The table of docs/node.md; the third column tells until when a parameter may be changed."""
    rows = ["| parameter | default | changes | values | |", "|---|---|---|---|---|"]
    for row in PARAMETERS:
        default = f"`{_yaml(row.default)}`" if row.default != "" else "empty"
        rows.append(f"| `{row.name}` | {default} | {_CHANGES[row.until]} | {row.constraint} | {row.description} |")
    return "\n".join(rows) + "\n"


def yaml() -> str:
    """The parameter file with every default."""
    return _YAML_HEAD + "".join(f"    # {_comment(row)}\n    {row.name}: {_yaml(row.default)}\n" for row in PARAMETERS)


def with_table(page: str) -> str:
    """``page`` with the table between its two marks replaced. Raises ValueError where it lacks them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/node.md needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{markdown()}{END}{tail}"


def main(root: Path = Path()) -> None:
    """Write both files under ``root``, the repository."""
    page = root / "docs" / "node.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
    (root / "config" / "pipeline.yaml").write_text(yaml(), encoding="utf-8")


def _comment(row: Parameter) -> str:
    facts = [row.description, row.constraint, "live" if row.until == "active" else ""]
    return "; ".join(filter(None, facts)) + "."


def _yaml(value: Value) -> str:
    """JSON is YAML, and tells 0.0 from 0; words that need no quotes go without."""
    if isinstance(value, tuple):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value)


if __name__ == "__main__":
    main()
