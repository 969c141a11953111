// Chapter 2: the step, both flows and the orders of their gaps, for a loss that the reader types.
(function (IGR) {
  "use strict";

  const STEPS = 20; // shown in the plane
  const HALVINGS = 8; // as in the chapter's fit
  const ROUNDING = 1e-11; // a gap below is not fitted
  const DIVERGED = 1e6;
  const [LEAST, MOST] = [1e-9, 1e6]; // of an h that is typed
  const TRIES = 3000; // of a flow's method, so that a frame stays short

  // Of a jet [E, E_a, E_b, E_aa, E_ab, E_bb]: the gradient g, f_1 = −Hg/2, and λ_max of H.
  const gradient = ([, u, v]) => [u, v];
  const correction = ([, u, v, aa, ab, bb]) => [-(aa * u + ab * v) / 2, -(ab * u + bb * v) / 2];
  const sharpness = ([, , , aa, ab, bb]) => (aa + bb) / 2 + Math.hypot((aa - bb) / 2, ab);
  const finite = (values) => values.every(Number.isFinite);

  // The flow of f + weight·f_1 to the time `end`, and whether it was there: it may leave the numbers.
  function flow(jet, weight, start, end, tolerance) {
    let tries = 0, stopped = false;
    const lost = (p) => (stopped = ++tries > TRIES || !(Math.hypot(...p) < DIVERGED));
    const field = (p) => {
      const [, u, v, aa, ab, bb] = jet(p), half = -weight / 2;
      return [half * (aa * u + ab * v) - u, half * (ab * u + bb * v) - v];
    };
    const times = [], points = IGR.flow(field, start, end, tolerance, lost, times);
    return { points, times, arrived: !stopped };
  }

  const moved = (jet, p, h) => gradient(jet(p)).map((g, i) => p[i] - h * g);

  // The step of size h, both flows after the time h, and the gaps; NaN where a flow does not arrive.
  function step(jet, start, h) {
    const end = moved(jet, start, h);
    const flows = [0, h].map((weight) => flow(jet, weight, start, h, 1e-13));
    const gap = flows.map(({ points, arrived }) => (arrived ? IGR.distance(IGR.last(points), end) : NaN));
    return { end, flow: flows[0].points, modified: flows[1].points, gap };
  }

  // The slope of log(gap) against log(h), by least squares; null for less than three gaps.
  function order(sizes, gaps, least = 0) {
    const points = sizes.map((h, i) => [Math.log(h), Math.log(gaps[i]), gaps[i] > least]).filter((p) => p[2]);
    if (points.length < 3) return null;
    const mean = (f) => points.reduce((s, p) => s + f(p), 0) / points.length;
    const x = mean((p) => p[0]), y = mean((p) => p[1]);
    return mean((p) => (p[0] - x) * (p[1] - y)) / mean((p) => (p[0] - x) ** 2);
  }

  // Everything that the explorer shows, or { problem }.
  function compute(jet, { start, h }) {
    const at = jet(start);
    if (!finite(at)) {
      const what = Number.isFinite(at[0]) ? `E is ${IGR.stage.number(at[0])}, but its derivatives are not finite` : "E is not finite";
      return { problem: `${what} at the start (${start.map(IGR.stage.number).join(", ")}). Move the start to where E is smooth.` };
    }
    const points = [start];
    let diverged = 0;
    for (let n = 1; n <= STEPS && !diverged; n++) {
      const p = moved(jet, IGR.last(points), h);
      if (Math.hypot(...p) < DIVERGED && finite(jet(p))) points.push(p);
      else diverged = n;
    }
    const g = gradient(at), sizes = IGR.range(HALVINGS, (k) => h / 2 ** k);
    const [one, ...smaller] = sizes.map((size) => step(jet, start, size));
    const table = [one, ...smaller].map(({ gap }, k) => [sizes[k], ...gap]);
    const least = ROUNDING * (1 + Math.hypot(...start));
    const orders = [1, 2].map((c) => order(sizes, table.map((row) => row[c]), least));
    const paths = [0, h].map((weight) => flow(jet, weight, start, STEPS * h, 1e-8)); // only drawn
    const R = (g[0] ** 2 + g[1] ** 2) / 2;
    return {
      E: at[0], gradient: g, f1: correction(at), sharpness: sharpness(at), R, modifiedLoss: at[0] + (h / 2) * R,
      points, diverged, one, table, orders, least, paths,
    };
  }

  // What is shown, in words; `say` writes a number.
  function sentence({ start, h }, found, say) {
    const { gradient: g, one: { gap }, orders, diverged, least, paths } = found;
    const from = `From (${start.map(say).join(", ")}) `;
    if (Math.hypot(...g) === 0) return `${from}nothing moves: the gradient is 0.`;
    const ends = `${from}a step of h = ${say(h)} ends `;
    const off = diverged ? ` Gradient descent diverges: after ${diverged === 1 ? "one step" : `${diverged} steps`} it is beyond a million, or E is not finite there.` : "";
    if (gap.some(Number.isNaN)) {
      const lost = gap.every(Number.isNaN) ? "Both flows leave" : Number.isNaN(gap[0]) ? "The flow of E leaves" : "The flow of Ẽ leaves";
      return `${from}there is no step of h = ${say(h)} to compare: ${lost} the finite numbers or the domain of E within the time h.${off} Make h smaller.`;
    }
    const none = Math.hypot(...found.f1) === 0;
    if (!(gap[0] > least)) return `${ends}where both flows do, up to rounding: ${none ? "f₁ = 0 here" : "h is too small to see the gaps"}.${off}`;
    const fitted = orders.map((p) => (p === null ? "unknown (the gaps are below rounding)" : p.toFixed(2)));
    const far = orders.some((p, i) => p !== null && p < 1.9 + i);
    const large = far ? " The largest of these steps may be too long for that: make h smaller and fit again." : "";
    const stops = paths.some(({ arrived }) => !arrived) ? " A flow leaves the finite numbers or the domain of E on the way." : "";
    return `${ends}${say(gap[0])} from the flow of E and ${say(gap[1])} from the flow of Ẽ. ` +
      `Fitted over ${HALVINGS} halvings of h, the orders are ${fitted[0]} and ${fitted[1]}; the theorem says 2 and 3 or more, for small h.${none ? " f₁ = 0 here: for one step the flow of E has the order of the flow of Ẽ." : ""}${large}${off}${stops}`;
  }

  // The greatest h of the slider: beyond 2/λ, in two digits.
  function most(lambda) {
    const wanted = lambda > 0 ? Math.min(1e3, Math.max(1e-6, 2.5 / lambda)) : 1;
    return +(wanted * 1.0499).toPrecision(2);
  }

  IGR.loss = { correction, sharpness, flow, step, order, compute, sentence, most };

  // As long as a sentence of steps that arrive gets.
  const LONGEST = "From (−0.123, −0.123) a step of h = 0.00123 ends 1.2·10⁻¹⁰ from the flow of E and 1.2·10⁻¹⁰ from the flow of Ẽ. " +
    "Fitted over 8 halvings of h, the orders are 2.00 and 3.00; the theorem says 2 and 3 or more, for small h. " +
    "The largest of these steps may be too long for that: make h smaller and fit again. " +
    "Gradient descent diverges: after 10 steps it is beyond a million, or E is not finite there.";

  IGR.explorers ??= {};
  IGR.explorers.loss = function (root, { presets }) {
    const { stage, alive } = IGR;
    const { add, number } = stage;
    const state = { formula: "", start: [0, 0], h: 0.1 };
    const names = ["flow", "modified"];
    let jet, found;

    const chips = add(root, "fieldset", { class: "igr-chips" });
    add(chips, "legend", {}, "Examples");
    const group = `igr-examples-${IGR.count++}`;
    const choices = presets.map((preset) => {
      const label = add(chips, "label"), input = add(label, "input", { type: "radio", name: group });
      add(label, "span", {}, preset.name);
      input.addEventListener("change", () => take(preset));
      return input;
    });
    const controls = stage.controls(root);
    const id = `igr-problem-${IGR.count++}`;
    const [field, box] = stage.labelled(controls, "E(a, b) =", "input", {
      type: "text", class: "igr-formula", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": id,
    });
    box.classList.add("igr-wide");
    const mark = add(controls, "p", { class: "igr-problem", id });
    const boxes = ["a", "b"].map((name, i) => {
      const [input] = stage.labelled(controls, `start ${name}`, "input", { type: "number", step: 0.1, class: "igr-short" });
      input.addEventListener("change", () => {
        if (!Number.isFinite(input.valueAsNumber)) return draw();
        state.start = state.start.with(i, input.valueAsNumber);
        refit();
      });
      return input;
    });
    const dials = stage.controls(root);
    dials.classList.add("igr-stick");
    const dial = alive.scale(dials, "h", (h) => { state.h = h; draw(); });
    const words = stage.words(root, LONGEST);
    const row = stage.row(root);
    const plane = stage.plot(row, "Plane of a and b with level lines of the loss, steps and both flows", "a", "b", 0.9);
    const close = stage.plot(row, "One step and both flows, enlarged, with the two gaps", "one step, enlarged", "", 0.9, true);
    const below = stage.row(root);
    const chart = stage.plot(below, "The two gaps for h and its halvings, both axes logarithmic", "h", "gap", 0.62);
    const table = add(add(below, "table", { class: "igr-numbers" }), "tbody");
    const handle = stage.handle(plane, "Starting point", (start) => { state.start = start.map((v) => +v.toPrecision(4)); draw(); });
    const guide = alive.guide(root, plane, { reset: () => take(presets[0]), frame: (s) => found.problem || trace(STEPS * s), rest: () => found.problem || trace(), seconds: 4 });
    stage.legend(root, [["descent", "steps of gradient descent"], ["flow", "flow of E"], ["modified", "flow of Ẽ"],
      ["landmark", "h = 1/λ and 2/λ at the start, λ = λ_max"]]);

    // What a new formula, or a start far off, needs: a window, its level lines, and limits of h.
    function fit({ points = [], paths = [] }) {
      const reach = 10 * (1 + Math.hypot(...state.start));
      const seen = [...points, ...paths.flatMap((path) => path.points), state.start].filter((p) => Math.hypot(...p) < reach);
      const [middle, size] = IGR.around(seen), half = Math.max(1.4 * size, 0.1);
      plane.limits(...middle.map((m) => [m - half, m + half]));
      const corner = (i, j) => middle.map((m, axis) => m + half * ((axis ? j : i) / 20 - 1));
      const values = IGR.range(41, (i) => IGR.range(41, (j) => jet(corner(i, j))[0])).flat().filter(Number.isFinite);
      values.sort((p, q) => p - q);
      const [low, high] = [values[0], values[values.length - 1]];
      // Close near the least value, as a valley wants it.
      const levels = IGR.range(10, (k) => low + (high - low) * ((k + 0.5) / 10) ** 3);
      plane.background = low < high ? IGR.contours((p) => jet(p)[0], plane.x, plane.y, levels, 40) : [];
      const wanted = most(sharpness(jet(state.start))), max = state.h > wanted ? +(1.2 * state.h).toPrecision(2) : wanted;
      const step = +(10 ** (Math.floor(Math.log10(max)) - 2)).toPrecision(1);
      dial.limits(step, max, step, { least: LEAST, most: MOST });
    }

    // Take over a formula, and a start and h if given; say what is wrong with it.
    function take(wanted) {
      try {
        jet = IGR.formula.jet(wanted.formula);
      } catch (problem) {
        if (!(problem instanceof IGR.formula.Wrong)) throw problem;
        const { from, to } = problem, text = wanted.formula;
        mark.replaceChildren();
        const code = add(mark, "code", {}, text.slice(0, from));
        add(code, "mark", {}, text.slice(from, to) || " ");
        code.append(text.slice(to));
        mark.append(" ");
        return refuse(problem.message);
      }
      Object.assign(state, { formula: wanted.formula, start: wanted.start ?? state.start, h: wanted.h ?? state.h });
      if (field.value !== state.formula) field.value = state.formula;
      choices.forEach((input, i) => (input.checked = presets[i].formula === state.formula));
      refit();
    }

    function refit() {
      found = compute(jet, state);
      fit(found);
      draw(found);
    }

    function refuse(message) {
      add(mark, "span", {}, message);
      field.setAttribute("aria-invalid", "true");
      root.classList.add("igr-refused");
      words.say(message);
    }

    function draw(now = compute(jet, state)) {
      const { start, h } = state;
      guide.stop();
      found = now;
      handle.place(start);
      dial.show(h);
      boxes.forEach((input, i) => (input.value = +start[i].toPrecision(6)));
      if (field.value !== state.formula) return; // what is wrong with it stays
      mark.replaceChildren();
      for (const view of [plane, close, chart]) view.clear();
      table.replaceChildren();
      if (found.problem) {
        behind();
        return refuse(found.problem);
      }
      field.removeAttribute("aria-invalid");
      root.classList.remove("igr-refused");
      const { one, orders, least } = found, fitted = orders.map((p) => (p === null ? "–" : p.toFixed(2)));
      trace();

      const ends = names.map((name) => IGR.last(one[name]));
      const shown = [start, one.end, ...ends].filter(finite), [middle, size] = IGR.around(shown);
      const half = size * 1.6;
      close.limits(...middle.map((m) => [m - half, m + half]));
      close.line("descent", [start, one.end]);
      names.forEach((name, i) => {
        close.line(name, one[name]);
        if (!(one.gap[i] > least)) return;
        close.dot(name, ends[i]);
        close.gap(name, one.end, ends[i], number(one.gap[i]), half * (i ? -1 : 1));
      });
      close.dot("start", start);
      close.dot("descent", one.end);

      const kept = found.table.flatMap((r) => r.slice(1)).filter((gap) => gap > least);
      const sizes = found.table.map((r) => r[0]);
      chart.limits([IGR.last(sizes) / 1.3, h * 1.3], kept.length ? [Math.min(...kept) / 2, Math.max(...kept) * 5] : [1e-12, 1], true);
      names.forEach((name, i) => {
        const dots = found.table.map((r) => [r[0], r[i + 1]]).filter(([, gap]) => gap > least);
        // Dashed: the exact powers 2 and 3 of h, through the least gap.
        if (dots.length > 1) chart.line("guide", sizes.map((s) => [s, IGR.last(dots)[1] * (s / IGR.last(dots)[0]) ** (2 + i)]));
        chart.line(name, dots);
        chart.dots(name, dots);
        // Above the one line and below the other.
        const [size, gap] = dots[Math.min(4, dots.length - 1)] ?? [];
        if (orders[i] !== null) chart.note([size, gap * (i ? 1 / 9 : 9)], `order ${fitted[i]}`).setAttribute("text-anchor", i ? "start" : "end");
      });

      const meant = { 1: "there a step lands on the minimum of the steepest parabola", 2: "the edge of stability at the start" };
      dial.mark(found.sharpness > 0 ? [1, 2].map((k) => ({ value: k / found.sharpness, name: `${k}/λ`, meaning: `${meant[k]}, ${k}/λ` })) : []);
      const pair = (values) => `(${values.map(number).join(", ")})`;
      for (const [name, value] of [
        ["E, Ẽ", `${number(found.E)}, ${number(found.modifiedLoss)}`], ["∇E", pair(found.gradient)], ["f₁ = −½ ∇²E ∇E", pair(found.f1)],
        ["R_IG = ½ |∇E|²", number(found.R)], ["λ_max", number(found.sharpness)],
        ["gap to the flow of E", number(one.gap[0])], ["gap to that of Ẽ", number(one.gap[1])], ["fitted orders", fitted.join(", ")],
      ]) {
        const line = add(table, "tr");
        stage.rich(add(line, "th", { scope: "row" }), name);
        add(line, "td", {}, value);
      }
      words.say(sentence(state, found, number));
    }

    const behind = () => plane.behind(() => plane.pieces("level", plane.background), plane.background);

    // The steps and both flows in the plane, or while they are played what there is after n steps.
    function trace(n = Infinity) {
      const { points, paths } = found;
      plane.clear();
      behind();
      paths.forEach((path, i) => {
        const shown = alive.until(path.points, path.times, n * state.h);
        plane.line(names[i], shown);
        if (n < Infinity) plane.dot(names[i], IGR.last(shown), 4);
      });
      const run = points.slice(0, Math.floor(n) + 1);
      plane.line("descent igr-faint", run);
      plane.dots("descent", run, 3);
      guide.invite(state.start);
    }

    const isFormula = (text) => {
      try {
        return Boolean(IGR.formula.jet(text));
      } catch (problem) {
        if (problem instanceof IGR.formula.Wrong) return false;
        throw problem;
      }
    };
    field.addEventListener("input", () => take({ formula: field.value }));
    for (const drawn of [plane, close, chart]) drawn.onresize.push(() => draw());
    take(presets[0]);
    IGR.address(root, {
      state: () => state, allowed: { formula: isFormula, start: [-1e6, 1e6], h: [LEAST, MOST] }, play: guide.play,
      take: ({ formula = state.formula, ...rest }) => take({ formula: String(formula), ...rest }),
    });
  };
})((globalThis.IGR ??= {}));
