"use strict";
(function () {
  // Where the contents stand above the page and not beside it, the first screen is the findings'.
  if (window.matchMedia("(max-width: 75.99rem)").matches) {
    document.querySelectorAll("nav.contents details").forEach(function (d) { d.open = false; });
  }
  // One figure after the other: each <figure class="plot"> carries its data beside it.
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  document.querySelectorAll("figure.plot").forEach(function (figure) {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const area = figure.querySelector(".plot-area");
    Plotly.newPlot(area, spec.data, spec.layout, Object.assign({}, config, spec.config))
      .then(function () {
        figure.dataset.drawn = "yes";
        area.on("plotly_click", function (event) { openFold(figure, event.points); });
      });
  });
  // A click on a row of the atlas opens the next fold of that tuning, which says who paid.
  function openFold(figure, points) {
    const names = points.map(function (point) { return point.customdata; });
    const fold = Array.from(document.querySelectorAll("details[data-tuning]")).find(function (d) {
      const follows = figure.compareDocumentPosition(d) & Node.DOCUMENT_POSITION_FOLLOWING;
      return follows && names.includes(d.dataset.tuning);
    });
    if (fold) {
      fold.open = true;
      fold.scrollIntoView({ block: "center" });
    }
  }
  const toggle = document.getElementById("code-toggle");
  toggle.addEventListener("click", function () {
    const show = toggle.getAttribute("aria-pressed") !== "true";
    document.querySelectorAll("details.code").forEach(function (d) { d.open = show; });
    toggle.setAttribute("aria-pressed", String(show));
    toggle.textContent = show ? toggle.dataset.hide : toggle.dataset.show;
  });
  // A printed page shows its figures at the width of the paper.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".plot-area").forEach(function (a) { Plotly.Plots.resize(a); });
  });
})();
