"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const { figures, dark } = read("figures");
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;

  const draw = () => {
    for (const [id, light] of Object.entries(figures)) {
      let text = JSON.stringify(light);
      if (scheme.matches) for (const [from, to] of Object.entries(dark)) text = text.replaceAll(from, to);
      const { data, layout } = JSON.parse(text);
      // A finger on a figure scrolls the page, and does not draw a box.
      if (touch) layout.dragmode = false;
      Plotly.react(id, data, layout, { responsive: true, displayModeBar: false });
    }
  };
  draw();
  scheme.addEventListener("change", draw);

  // A page that renews itself comes back as it was left.
  if (document.querySelector("meta[http-equiv=refresh]")) {
    const key = `frostline ${document.title}`;
    const all = [...document.querySelectorAll("details")];
    try {
      const left = JSON.parse(sessionStorage.getItem(key) || "[]");
      all.forEach((details, i) => { details.open = left.includes(i); });
      addEventListener("pagehide", () => {
        const open = all.flatMap((details, i) => (details.open ? [i] : []));
        sessionStorage.setItem(key, JSON.stringify(open));
      });
    } catch { /* no storage for this page: it opens closed */ }
  }
})();
