// The explorer of descents (stir/study/explorer.py): controls, pictures and numbers, of the data that lie in the page.
// A classic script, named .mjs because Jupyter Book puts every .js below _static into every page; as a module it would
// not load where the book is read from files.
(() => {
  "use strict";

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const number = (value, digits = 2) => value.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "\u2212");
  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)]; // the lower of two, as PyTorch has it
  };
  const unique = (values) => [...new Set(values)];

  // A select with a label, that calls `changed`.
  // `names` are what an option is called, where that is not its value.
  const choice = (label, options, value, changed, names = {}) => {
    const select = make("select", { onchange: changed });
    select.append(...options.map((each) => make("option", { value: each, textContent: names[each] ?? each })));
    select.value = value;
    return [make("label", {}, make("span", { textContent: label }), select), select];
  };

  // A row of the table of pictures: a head and a cell for each image.
  const row = (head, cells) => make("tr", {}, make("th", { scope: "row" }, ...[].concat(head)), ...cells);

  const explore = (root, data) => {
    const [height, width] = data.size;
    const trainings = unique(data.networks.map((each) => each.training));
    const seeds = unique(data.networks.map((each) => each.seed));
    const sheets = {}; // source -> its picture, once loaded
    const load = (source) =>
      (sheets[source] ??= new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve(image);
        image.src = source;
      }));

    const first = data.descents[0];
    const own = data.networks.find((each) => each.name === first.reference);
    const other = seeds.find((each) => each !== own.seed) ?? own.seed;
    const side = (legend, seed) => {
      const [training, trainingSelect] = choice("training", trainings, own.training, update);
      const [seedLabel, seedSelect] = choice("network", seeds, seed, update);
      const fieldset = make("fieldset", {}, make("legend", { textContent: legend }), training, seedLabel);
      const name = () =>
        data.networks.find((each) => each.training === trainingSelect.value && each.seed === seedSelect.value).name;
      return { fieldset, name };
    };
    const reference = side("Reference: makes X\u2032", own.seed);
    const target = side("Target: looks at X\u2032", other);
    const [layerLabel, layer] = choice("layer", Object.keys(data.layers), first.layer, update, data.layers);
    const taken = make("b"); // an output would be what the label labels
    const slider = make("input", { type: "range", min: 0, max: data.steps.length - 1, value: data.steps.length - 1 });
    slider.oninput = update;
    const steps = make("label", { className: "steps" }, make("span", {}, "steps of the descent: ", taken), slider);

    const canvases = () => data.labels.map(() => make("canvas", { width, height, role: "img" }));
    const pictures = { x: canvases(), seed: canvases(), inverted: canvases() };
    const distances = { reference: data.labels.map(() => make("td")), target: data.labels.map(() => make("td")) };
    const cells = (kind) => pictures[kind].map((canvas) => make("td", {}, canvas));
    const stepHead = make("span", { className: "small" });
    const table = make(
      "table",
      { className: "pictures" },
      make("caption", { className: "visually-hidden", textContent: "Pictures, and their distance from x for both networks" }),
      make("thead", {}, make("tr", {}, make("td"), ...data.labels.map((each) => make("th", { scope: "col", textContent: each })))),
      make(
        "tbody",
        {},
        row("image x", cells("x")),
        row("seed", cells("seed")),
        row(["x\u2032 ", stepHead], cells("inverted")),
        row(["distance from\u00a0x ", make("span", { className: "small", textContent: "for the reference" })], distances.reference),
        row(["distance from\u00a0x ", make("span", { className: "small", textContent: "for the target" })], distances.target),
      ),
    );

    const bars = Object.fromEntries(
      ["stir", "cka", "pixels"].map((kind) => {
        const bar = make("i", { className: kind });
        const value = make("output", { className: kind });
        return [kind, { bar, value }];
      }),
    );
    const score = (kind, name, meaning) =>
      make(
        "div",
        { className: "score" },
        make("dt", { textContent: name }),
        make(
          "dd",
          {},
          bars[kind].value,
          make("span", { className: "track", ariaHidden: "true" }, bars[kind].bar),
          make("span", { className: "small", textContent: meaning }),
        ),
      );
    const scores = make(
      "dl",
      {},
      score("stir", "STIR", "do they ignore the same changes?"),
      score("cka", "CKA", "do they arrange the images alike?"),
      score("pixels", "pixels", "what STIR would be with no invariance at all"),
    );
    const about = make("p", { className: "small" });
    const said = make("p", { className: "said" });
    said.setAttribute("aria-live", "polite");

    const draw = (canvas, sheet, column, line, label) => {
      const context = canvas.getContext("2d");
      context.drawImage(sheet, column * width, line * height, width, height, 0, 0, width, height);
      canvas.setAttribute("aria-label", label);
    };

    async function update() {
      const names = { reference: reference.name(), target: target.name() };
      const at = Number(slider.value);
      const count = `${data.steps[at]} ${data.steps[at] === 1 ? "step" : "steps"}`;
      taken.textContent = String(data.steps[at]);
      slider.setAttribute("aria-valuetext", count);
      stepHead.textContent = `after ${count}`;
      const descent = data.descents.find((each) => each.reference === names.reference && each.layer === layer.value);
      const measured = data.scores.find(
        (each) => each.reference === names.reference && each.target === names.target && each.layer === layer.value,
      );
      for (const kind of ["reference", "target"]) {
        descent.distances[names[kind]][at].forEach((value, column) => {
          distances[kind][column].textContent = number(value);
        });
      }
      for (const [kind, { bar, value }] of Object.entries(bars)) {
        const known = kind in measured;
        const interval = `${kind}_low` in measured ? ` [${number(measured[`${kind}_low`])}, ${number(measured[`${kind}_high`])}]` : "";
        value.textContent = known ? number(measured[kind]) + interval : "not measured";
        bar.style.width = `${100 * Math.max(0, known ? measured[kind] : 0)}%`;
      }
      const by = (kind) => number(median(descent.distances[names[kind]][at]));
      said.textContent =
        `After ${count}, x\u2032 lies at a median distance of ${by("reference")} from x for the reference (${names.reference}), ` +
        `and of ${by("target")} for the target (${names.target}).`;
      about.textContent =
        `STIR, CKA and pixels are of ${data.measured.images} test images of ${data.dataset}, after all ${data.measured.steps} steps; ` +
        "brackets are 95% intervals over images. The slider changes the pictures and their distances.";
      const [x, seed, sheet] = await Promise.all([load(data.x), load(data.seed), load(descent.sprite)]);
      if (at !== Number(slider.value) || descent.layer !== layer.value || names.reference !== reference.name()) return; // chosen meanwhile
      data.labels.forEach((label, column) => {
        draw(pictures.x[column], x, column, 0, `test image: ${label}`);
        draw(pictures.seed[column], seed, column, 0, "the noise that the descent begins from");
        const [source, line] = at === 0 ? [seed, 0] : [sheet, at - 1];
        draw(pictures.inverted[column], source, column, line, `x\u2032 for ${label}, after ${count}`);
      });
      root.dataset.shown = [names.reference, names.target, layer.value, data.steps[at]].join("; ");
    }

    // What is compared stands with its scores, and what the slider changes below the slider.
    const compared = make("div", { className: "compared" }, reference.fieldset, target.fieldset, layerLabel, scores);
    root.append(compared, make("div", { className: "descent" }, steps, table, said), about);
    update();
  };

  for (const root of document.querySelectorAll("div.explorer:not([data-built])")) {
    root.dataset.built = "";
    explore(root, JSON.parse(root.querySelector("script").textContent));
  }
})();
