"""The instance of `h3-pipeline dev --production-like`: that of AWS, on one machine."""

from importlib import resources
from pathlib import Path


def write_instance(folder: Path) -> Path:
    """Write ``dagster.yaml`` and ``workspace.yaml`` into a folder, for `DAGSTER_HOME`.

    Returns:
        The workspace file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "workspace.yaml"
