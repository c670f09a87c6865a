// An extension of JupyterLab as it loads them (a container of module federation), written by hand:
// there is nothing to build. A click on a row of figures.atlas opens the next fold of that tuning in
// the notebook (tables.folds), which says who paid; a report does the same (templates/kvmlab/figures.js).
(function () {
  "use strict";

  const NAME = "kvmlab-atlas";
  const FIGURE = ".js-plotly-plot";

  function openFold(click) {
    const figure = click.event.target.closest(FIGURE);
    const notebook = figure && figure.closest(".jp-Notebook");
    if (!notebook) {
      return;
    }
    const names = click.points.map((point) => point.customdata);
    const fold = [...notebook.querySelectorAll("details[data-tuning]")].find(
      (each) =>
        figure.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING &&
        names.includes(each.dataset.tuning)
    );
    if (fold) {
      fold.open = true;
      fold.scrollIntoView({ block: "center" });
    }
  }

  // Listen to a figure from when the pointer enters it: it may have been drawn anew since.
  function entered(event) {
    const figure = event.target instanceof Element && event.target.closest(FIGURE);
    if (figure && figure.on) {
      figure.removeListener("plotly_click", openFold);
      figure.on("plotly_click", openFold);
    }
  }

  const plugin = {
    id: NAME + ":plugin",
    autoStart: true,
    activate: () => document.addEventListener("pointerover", entered, true),
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async () => {},
    get: async () => () => ({ __esModule: true, default: [plugin] }),
  };
})();
