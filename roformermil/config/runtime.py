"""What a run uses of the machine."""

from pathlib import Path

from roformermil.config.base import Settings, UserPath


class Runtime(Settings):
    """What a run uses of the machine. No key changes a result."""

    weights: UserPath | None = None
    """Folder of downloaded weights, which the nodes of a cluster see. By default those of PyTorch, the Hugging Face hub and
    tiatoolbox: in your home folder, unless `TORCH_HOME`, `HF_HUB_CACHE` and `TIATOOLBOX_HOME` name others."""
    scratch: UserPath | None = None
    """Folder on a fast disk of the machine, or of each node, such as `$TMPDIR`: a slide is copied there, in one go, while the
    slide before is encoded, and the copy is removed once it is encoded. For slides on a slow or shared disk. Needs room for
    four slides; a slide that does not fit is read where it is."""
    container: str | None = None
    """Image in which `--sdm apptainer` runs the jobs, made from `Dockerfile`: a file (`roformermil.sif`) or an address
    (`docker://...`)."""


def cache_variables(folder: Path | None) -> dict[str, str]:
    """The environment variables by which libraries keep downloaded weights in a folder; none by default."""
    if not folder:
        return {}
    folders = {"TORCH_HOME": "torch", "HF_HUB_CACHE": "huggingface", "TIATOOLBOX_HOME": "tiatoolbox"}
    return {name: str(folder.absolute() / part) for name, part in folders.items()}
