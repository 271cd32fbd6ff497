// Replaces each still drawing by its interactive twin. Everything it needs is in the page. The libraries are unpacked
// into script elements whose hashes the page's policy names; no expression is compiled by the browser (`ast: true`
// walks them), so the policy can forbid eval. A browser that cannot unpack keeps the still drawings.
(async () => {
  "use strict";
  if (!("DecompressionStream" in window)) return;

  const unpacked = (block) => {
    const bytes = Uint8Array.from(atob(block.textContent), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  for (const block of document.querySelectorAll("script.packed[id^=library-]")) {
    const script = document.createElement("script");
    script.textContent = await unpacked(block);
    document.head.append(script);
  }
  const specs = JSON.parse(await unpacked(document.getElementById("specs")));
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
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

  // What the reader sees first, then the rest while the browser has nothing else to do.
  const idle = () => new Promise((resolve) => {
    "requestIdleCallback" in window ? requestIdleCallback(resolve, { timeout: 1000 }) : setTimeout(resolve, 20);
  });
  const drawAll = async () => {
    const mine = ++round;
    const theme = themes[dark.matches ? "dark" : "light"];
    const figures = [...document.querySelectorAll("figure[data-chart]")];
    const near = figures.filter((figure) => Math.abs(figure.getBoundingClientRect().top) < 1.5 * innerHeight);
    for (const figure of [...near, ...figures.filter((figure) => !near.includes(figure))]) {
      if (!near.includes(figure)) await idle();
      if (mine !== round) return;
      await draw(figure, specs[figure.dataset.chart], theme);
      if (figure === near.at(-1)) performance.mark("first screen");
    }
    document.documentElement.dataset.drawn = String(views.size);
  };

  dark.addEventListener("change", drawAll);
  await drawAll();
})();
