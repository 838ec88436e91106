// Descents with a slider (stir/study/slider.py): moves the pictures and bars that lie in the page along the steps.
// A classic script, named .mjs for the same reason as explorer.mjs.
(() => {
  "use strict";

  for (const figure of document.querySelectorAll("figure.descent:not([data-built])")) {
    figure.dataset.built = "";
    const steps = JSON.parse(figure.dataset.steps);
    const last = steps.length - 1;
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: last, value: last });
    const taken = document.createElement("b"); // an output would be what the label labels
    const words = document.createElement("span");
    words.append("steps of the descent: ", taken);
    const label = document.createElement("label");
    label.append(words, slider);

    const show = () => {
      const at = Number(slider.value);
      taken.textContent = steps[at];
      for (const picture of figure.querySelectorAll("td img")) picture.style.objectPosition = `0 ${(100 * at) / last}%`;
      const said = [...figure.querySelectorAll("tbody tr")].map((row) => {
        const bars = [...row.querySelectorAll(".distance")].map((bar) => {
          const value = JSON.parse(bar.dataset.values)[at];
          bar.querySelector("b").textContent = value.toFixed(2);
          bar.querySelector("i").style.width = `${(100 * value) / figure.dataset.most}%`;
          return `${bar.querySelector("span").textContent} ${value.toFixed(2)}`;
        });
        return `${row.querySelector("th").textContent}: ${bars.join(", ")}`;
      });
      slider.setAttribute("aria-valuetext", `${steps[at]} steps; distances from x, ${said.join("; ")}`);
    };
    slider.addEventListener("input", show);
    figure.querySelector("figcaption").before(label);
    show();

    // On paper the end shows.
    let shown = last;
    const moveTo = (at) => {
      slider.value = at;
      show();
    };
    addEventListener("beforeprint", () => {
      shown = Number(slider.value);
      moveTo(last);
    });
    addEventListener("afterprint", () => moveTo(shown));
  }
})();
