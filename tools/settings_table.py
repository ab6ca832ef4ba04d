"""Write the table of settings into the operator's guide, from the settings themselves.

    .venv/bin/python tools/settings_table.py

A test fails when the table in the guide is not what this would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamarchive.settings import PREFIX, SECRETS, Settings

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "operator-guide.md"
BEGIN = "<!-- settings: written by tools/settings_table.py -->\n"
END = "<!-- end of settings -->\n"


def table() -> str:
    """One row a setting, as Markdown."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        file = " May be given as `…_FILE`." if name in SECRETS else ""
        default = _shown(field.default)
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description}{file} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:  # noqa: ANN401 - defaults are of many types
    text = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
    return f"`{text}`" if text else ""


def with_table(guide: str) -> str:
    """The guide with the table between its marks."""
    before, _, rest = guide.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    GUIDE.write_text(with_table(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
