"""The package of CONTRIBUTING.md's example, whose model, network and emission join ours."""

import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


def example() -> dict[str, str]:
    """The example's files by name, as CONTRIBUTING.md has them."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|python)\n# (\S+)\n(.*?)```", text, flags=re.DOTALL)
    return dict(blocks)


def import_example() -> None:
    """Import the example's module, so that its decorators run in this process."""
    if "smoother" in sys.modules:
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "smoother.py").write_text(example()["smoother.py"], encoding="utf-8")
        sys.path.insert(0, folder)
        try:
            import_module("smoother")
        finally:
            sys.path.remove(folder)
