// Chapter 7: the sweep of Figure 2. Every model is a point; the one chosen shows its curves.
(function (IGR) {
  "use strict";

  const QUANTITIES = {
    regularizer: ["R_IG = |∇E|²/m", (p, m) => p.squared_gradient / m, true],
    squared: ["|∇E|²", (p) => p.squared_gradient, true],
    ratio: ["R_IG/E", (p, m) => p.squared_gradient / m / p.loss, true],
    loss: ["training loss E", (p) => p.loss, true],
    accuracy: ["test accuracy (%)", (p) => 100 * p.accuracy, false],
  };
  const CURVES = {
    squared_gradient: ["|∇E|² in training", true],
    loss: ["training loss E", true],
    accuracy: ["test accuracy (%)", false],
  };

  // What was not measured, as a number that is none.
  const known = (point) => Object.fromEntries(Object.entries(point).map(([name, v]) => [name, v ?? NaN]));

  // Each model at (λ = hm/4, the quantity), at the point chosen on "validation" or "test".
  function points({ rates, models }, quantity, selection) {
    const value = QUANTITIES[quantity][1];
    return models.map((model) => [(rates[model.rate] * model.m) / 4, value(known(model[selection]), model.m)]);
  }

  // The rank of each value from 1 up; equal values share the mean of theirs.
  function ranks(values) {
    const sorted = [...values].sort((a, b) => a - b);
    return values.map((v) => (sorted.indexOf(v) + sorted.lastIndexOf(v)) / 2 + 1);
  }

  const measured = (pair) => pair.every(Number.isFinite);

  // Spearman's correlation of the two coordinates of points, of those that have both.
  function correlation(all) {
    const pairs = all.filter(measured);
    const mean = (list) => list.reduce((s, v) => s + v, 0) / list.length;
    const [u, v] = [0, 1].map((k) => {
      const list = ranks(pairs.map((pair) => pair[k])), middle = mean(list);
      return list.map((value) => value - middle);
    });
    const dot = (p, q) => mean(p.map((value, i) => value * q[i]));
    return dot(u, v) / Math.sqrt(dot(u, u) * dot(v, v));
  }

  // The limits of an axis that shows all values, with some air.
  function around(all, log) {
    const values = all.filter((v) => Number.isFinite(v) && (v > 0 || !log));
    if (!values.length) return log ? [1, 10] : [0, 1];
    const low = Math.min(...values), high = Math.max(...values);
    if (log) {
      const air = Math.max((high / low) ** 0.06, 1.2);
      return [low / air, high * air];
    }
    const air = (high - low || 1) * 0.06;
    return [low - air, high + air];
  }

  // Where step 0 stands on a logarithmic axis: at half of the first step after it.
  const zero = (steps) => steps.find((step) => step > 0) / 2;

  // On what the models may be chosen: an arm without a validation split has one choice.
  const selections = ({ models }) =>
    [["test", "test images, as the paper"], ["validation", "validation images"]]
      .filter(([name]) => name === "test" || models.some((model) => model[name].step !== null));

  // The curve of a model where it was measured, as points.
  const curve = ({ steps }, model, name) =>
    model.curves[name]
      .map((v, i) => [steps[name][i] || zero(steps[name]), name === "accuracy" ? 100 * v : v, v])
      .filter(([, , v]) => v !== null)
      .map(([step, v]) => [step, v]);

  IGR.sweep = { points, correlation, curve, selections, around };

  IGR.explorers ??= {};
  IGR.explorers.sweep = function (root, data) {
    const { stage } = IGR;
    const { rates, models, colors } = data;
    const state = { model: 0, kept: false, quantity: "regularizer", selection: "test", curve: "squared_gradient" };
    const named = (table) => Object.entries(table).map(([name, [label]]) => [name, label]);
    const title = (m) => `width ${m.width}, h = ${rates[m.rate]}, seed ${m.seed}`;

    const controls = stage.controls(root);
    stage.choice(controls, "Show", named(QUANTITIES), state.quantity, (quantity) => draw({ quantity }));
    stage.choice(controls, "Chosen on", IGR.sweep.selections(data), state.selection, (selection) => draw({ selection }));
    stage.choice(controls, "Curve", named(CURVES), state.curve, (curve) => draw({ curve }));
    const list = stage.choice(controls, "Model", models.map((m, i) => [i, title(m)]), 0, (i) => draw({ model: +i }));
    const row = stage.row(root);
    const cloud = stage.plot(row, "Models by λ = hm/4; one is chosen", "λ = hm/4", "", 0.85);
    const chart = stage.plot(row, "How the chosen model, and its block, came there", "steps (0 at the left end)", "", 0.85);
    stage.legend(root, rates.map((h, i) => [colors[i], `h = ${h}`]));
    const words = stage.words(root);
    let at = [];

    // The nearest model under the pointer, or -1.
    const under = (event) => {
      const place = cloud.under(event);
      const away = at.map(([u, v]) => (measured([u, v]) ? IGR.distance([cloud.X(u), cloud.Y(v)], place) : Infinity));
      const nearest = away.indexOf(Math.min(...away));
      return away[nearest] < 24 ? nearest : -1;
    };
    cloud.svg.addEventListener("pointermove", (event) => {
      const model = under(event);
      if (!state.kept && model >= 0 && model !== state.model) draw({ model });
    });
    // Pressed, a model stays chosen until another place is.
    cloud.svg.addEventListener("pointerdown", (event) => {
      const model = under(event);
      draw(model < 0 ? { kept: false } : { model, kept: true });
    });

    function draw(change) {
      Object.assign(state, change);
      const { quantity, selection } = state, model = models[state.model];
      list.value = state.model;
      at = points(data, quantity, selection);
      const log = QUANTITIES[quantity][2];
      cloud.limits(around(at.map((p) => p[0]), true), around(at.map((p) => p[1]), log), [true, log]);
      cloud.clear();
      models.forEach((m, i) => {
        if (!measured(at[i])) return;
        const dot = cloud.dot("model", at[i], i === state.model ? 7 : 4);
        stage.tint(dot, colors[m.rate]);
        if (m[selection].censored) dot.classList.add("igr-open");
        if (i === state.model) dot.classList.add("igr-chosen");
      });

      // The models that differ from the chosen one by their learning rate alone, fainter.
      const block = models.filter((m) => m.width === model.width && m.seed === model.seed);
      const all = block.flatMap((m) => curve(data, m, state.curve)), steep = CURVES[state.curve][1];
      chart.limits(around(all.map((p) => p[0]), true), around(all.map((p) => p[1]), steep), [true, steep]);
      chart.clear();
      for (const m of block) {
        const line = curve(data, m, state.curve);
        if (line.length) stage.tint(chart.line(m === model ? "model" : "faint", line), colors[m.rate]);
      }
      const point = known(model[selection]);
      const shown = state.curve === "accuracy" ? 100 * point.accuracy : point[state.curve];
      const place = [point.step || zero(data.steps[state.curve]), shown];
      if (measured(place) && (shown > 0 || !steep)) stage.tint(chart.dot("model", place, 6), colors[model.rate]);

      const say = stage.number;
      words.say(
        `Width ${model.width}, h = ${rates[model.rate]}, seed ${model.seed}: ` +
        `best on ${selection} images at step ${Number.isNaN(point.step) ? "–" : point.step}` +
        (point.censored ? " (open point: in the last tenth of its run)" : "") +
        `, where E = ${say(point.loss)}, |∇E|² = ${say(point.squared_gradient)}, ` +
        `R_IG = ${say(point.squared_gradient / model.m)}, R_IG/E = ${say(point.squared_gradient / model.m / point.loss)} ` +
        `and test accuracy is ${say(100 * point.accuracy)} %. Its λ = hm/4 is ${say(at[state.model][0])}. ` +
        `Over all ${models.length} models the rank correlation of λ with ${QUANTITIES[quantity][0].replace(" (%)", "")} is ${correlation(at).toFixed(2).replace("-", "−")}.`);
    }
    for (const plot of [cloud, chart]) plot.onresize.push(() => draw({}));
    draw({});
  };
})((globalThis.IGR ??= {}));
