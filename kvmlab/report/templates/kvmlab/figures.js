"use strict";
(function () {
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
      .then(function () { figure.dataset.drawn = "yes"; });
  });
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
