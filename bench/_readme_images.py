"""The pictures of the READMEs, drawn from a run: `python -m bench._readme_images RUN`.

RUN is the folder of `./lab run 00 01`. Needs chromium, as the tests do.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nbformat
import plotly.io
from playwright.sync_api import sync_playwright

from bench._harness import ROOT

IMAGES: Final = ROOT / "docs" / "images"
#: Image -> the notebook and the cell whose figure it shows.
FIGURES: Final = {
    "path.png": ("00-packet-path", "draw-path"),
    "comparison.png": ("01-full-emulation-and-virtio", "see-overview"),
}
_WIDTH_PX: Final = 884
_PLOTLY: Final = "application/vnd.plotly.v1+json"


def main(argv: Sequence[str] | None = None) -> None:
    """Draw every image of :data:`FIGURES` anew."""
    parser = argparse.ArgumentParser(prog="python -m bench._readme_images", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run of the notebooks 00 and 01")
    run: Path = parser.parse_args(argv).run
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as scratch,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": _WIDTH_PX, "height": 800}, device_scale_factor=2)
        for image, (notebook, cell_id) in FIGURES.items():
            html = Path(scratch, "figure.html")
            html.write_text(_figure_page(run, notebook, cell_id), encoding="utf-8")
            page.goto(html.as_uri())
            page.wait_for_selector(".plot-container")
            page.locator(".plotly-graph-div").screenshot(path=IMAGES / image)
            print(f"drew {(IMAGES / image).relative_to(ROOT)}")


def _figure_page(run: Path, notebook: str, cell_id: str) -> str:
    node = nbformat.read(run / "notebooks" / f"{notebook}.ipynb", as_version=4)
    cell = next(cell for cell in node.cells if cell.id == cell_id)
    figure = next(out.data[_PLOTLY] for out in cell.outputs if _PLOTLY in out.get("data", {}))
    figure = {"data": figure["data"], "layout": figure["layout"]}
    drawn: str = plotly.io.to_html(
        figure,
        config={"displayModeBar": False},
        include_plotlyjs=True,
        full_html=False,
        default_width=f"{_WIDTH_PX}px",
    )
    return f'<!doctype html><meta charset="utf-8"><body style="margin:0">{drawn}</body>'


if __name__ == "__main__":
    main()
