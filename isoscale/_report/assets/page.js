// Replaces each still drawing by its interactive twin. Everything it needs is in the page; no expression is compiled
// by the browser (`ast: true` walks them), so the page's policy can forbid eval.
(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("specs");
  const config = read("config");
  const themes = read("themes");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  let round = 0;

  // "$tone" becomes a colour; data and texts are left alone.
  const painted = (node, theme, key) => {
    if (key === "values" || key === "value" && Array.isArray(node)) return node;
    if (Array.isArray(node)) return node.map((child) => painted(child, theme));
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([name, child]) => [name, painted(child, theme, name)]));
    }
    const tone = typeof node === "string" && key !== "description" && key !== "title" && node[0] === "$";
    return tone ? theme[node.slice(1)] ?? node : node;
  };

  const draw = async (figure, spec, theme) => {
    const box = figure.querySelector(".ink");
    const stage = document.createElement("div");
    stage.className = "stage";
    box.append(stage);
    const embedded = await vegaEmbed(stage, painted(spec, theme), {
      mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false,
      config: painted(config, theme), tooltip: { disableDefaultStyle: true, theme: "quiet" },
    });
    views.get(box)?.();
    views.set(box, () => { embedded.finalize(); stage.remove(); });
    box.classList.add("drawn");
  };

  const drawAll = async () => {
    const mine = ++round;
    const theme = themes[dark.matches ? "dark" : "light"];
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      if (mine !== round) return;
      await draw(figure, specs[figure.dataset.chart], theme);
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.dataset.drawn = String(views.size);
  };

  dark.addEventListener("change", drawAll);
  drawAll();
})();
