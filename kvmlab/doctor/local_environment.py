"""The machine at which kvmlab runs: Jupyter's kernel, plotly's own script, widgets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class LocalEnvironment:
    """Requirements of the notebooks here. Source: Jupyter's data folders, Python's packages."""

    #: Where the kernelspec python3 is; None without one.
    kernelspec: str | None
    #: The program that it starts; ``kernel_runs`` says whether that is there.
    kernel_program: str
    kernel_runs: bool
    #: plotly's own copy of plotly.js; None without one.
    plotly_script: str | None
    #: Versions; None where the package is missing.
    ipywidgets: str | None
    jupyterlab_widgets: str | None
    libvirt_binding: bool


def read_local_environment() -> LocalEnvironment:
    """Read this machine."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
        place, program = str(spec.resource_dir), str(spec.argv[0])
    except NoSuchKernel:
        place, program = None, ""
    return LocalEnvironment(
        kernelspec=place,
        kernel_program=program,
        kernel_runs=bool(program) and shutil.which(program) is not None,
        plotly_script=_plotly_script(),
        ipywidgets=_version("ipywidgets"),
        jupyterlab_widgets=_version("jupyterlab_widgets"),
        libvirt_binding=find_spec("libvirt") is not None,
    )


def _plotly_script() -> str | None:
    """Locate plotly's script by its path: importing plotly takes a second."""
    spec = find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            return str(script)
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
