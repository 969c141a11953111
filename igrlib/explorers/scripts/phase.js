// Chapter 3: the phase plane of f(x; a, b) = abx, as in Figures 1a and A.1 of the paper.
(function (IGR) {
  "use strict";

  const DIVERGED = 1e6;
  const MOST_STEPS = 400000;

  const loss = ([a, b], x, y) => (y - a * b * x) ** 2 / 2;
  const length2 = ([a, b]) => a * a + b * b;
  const gradient = ([a, b], x, y) => {
    const pull = -x * (y - a * b * x);
    return [pull * b, pull * a];
  };
  // The gradient of E + rate·R_IG, R_IG = |∇E|²/2.
  const regularized = (rate, x, y) => (p) => {
    const g = gradient(p, x, y), stretch = 1 + rate * x * x * length2(p);
    const central = 2 * rate * x * x * loss(p, x, y);
    return p.map((value, i) => stretch * g[i] + central * value);
  };

  // The flow of E + rate·R_IG, to a time when it has arrived.
  const flow = (rate, start, x, y, end = 30) => {
    const field = regularized(rate, x, y);
    return IGR.flow((p) => field(p).map((g) => -g), start, end, 1e-11);
  };

  // Gradient descent until it stands still, diverges, or has made so many steps.
  function descend(h, start, x, y, most = MOST_STEPS) {
    let [a, b] = start, steps = 0, outcome = "stopped";
    const points = [start];
    let kept = start;
    while (steps < most) {
      const pull = h * x * (y - a * b * x), u = a + pull * b, v = b + pull * a;
      const still = Math.abs(u - a) + Math.abs(v - b) < 1e-15 * (Math.abs(u) + Math.abs(v));
      [a, b] = [u, v];
      steps++;
      if (!(Math.abs(a) + Math.abs(b) < DIVERGED)) { outcome = "diverged"; break; }
      // Steps too short to be seen are not kept.
      if (steps < 400 || Math.abs(a - kept[0]) + Math.abs(b - kept[1]) > 2e-3) points.push((kept = [a, b]));
      if (still) { outcome = "arrived"; break; }
    }
    if (IGR.last(points) !== kept || kept[0] !== a) points.push([a, b]);
    return { points, steps, outcome };
  }

  // Everything that the explorer shows: four paths, their ends, R_IG/E there, the distances.
  function compute({ start, h, mu, x, y }) {
    const descent = descend(h, start, x, y);
    const paths = {
      descent: descent.points,
      flow: flow(0, start, x, y),
      modified: flow(h / 2, start, x, y),
      explicit: flow(mu, start, x, y),
    };
    const ends = {};
    for (const [name, points] of Object.entries(paths)) {
      const end = IGR.last(points);
      const gone = name === "descent" && descent.outcome === "diverged";
      ends[name] = { end, ratio: gone ? NaN : x * x * length2(end), distance: gone ? NaN : IGR.distance(end, IGR.last(paths.descent)) };
    }
    return { paths, ends, steps: descent.steps, outcome: descent.outcome };
  }

  IGR.phase = { loss, gradient, regularized, flow, descend, compute };

  const NAMES = {
    descent: "gradient descent", flow: "gradient flow of E", modified: "modified flow, of Ẽ", explicit: "explicit, E + μR_IG",
  };

  IGR.explorers ??= {};
  IGR.explorers.phase = function (root, data) {
    const { stage } = IGR;
    const { x, y, presets, flattest, h: rates, mu: strengths } = data;
    const state = { x, y };
    const controls = stage.controls(root);
    const choice = stage.choice(controls, "Setting", presets.map((p, i) => [i, p.label]), 0, (i) => choose(presets[i]));
    const rate = stage.slider(controls, "Learning rate h", (h) => draw({ h }));
    const strength = stage.slider(controls, "Explicit rate μ", (mu) => draw({ mu }));
    rate.limits(...rates);
    strength.limits(...strengths);
    const boxes = ["a", "b"].map((name, i) => {
      const [input] = stage.labelled(controls, `Start, ${name}`, "input", { type: "number", step: 0.1, min: -100, max: 100 });
      input.addEventListener("change", () => {
        const value = Math.min(100, Math.max(-100, Number(input.value)));
        draw({ start: state.start.map((old, j) => (j === i ? value : old)) });
      });
      return input;
    });
    const row = stage.row(root);
    const plane = stage.plot(row, "Phase plane of a and b with four paths to the minima", "a", "b", 0.9);
    const table = stage.add(stage.add(row, "div", { class: "igr-plot" }), "table");
    stage.legend(root, Object.entries(NAMES));
    const words = stage.words(root);
    const handle = stage.handle(plane, "Starting point", (start) => draw({ start }));

    const choose = ({ start, h, mu }) => draw({ start, h, mu });
    const limits = [0, 4];
    plane.limits(limits, limits);
    const levels = IGR.contours((p) => loss(p, x, y), limits, limits, IGR.geometric(0.02, 60, 8));
    const minima = IGR.geometric(y / x / 4, 4, 80).map((a) => [a, y / x / a]);

    function draw(change) {
      Object.assign(state, change);
      const { paths, ends, steps, outcome } = compute(state);
      plane.clear();
      plane.pieces("level", levels);
      plane.line("guide", minima);
      for (const name of ["flow", "modified", "explicit", "descent"]) {
        plane.line(name, paths[name]);
        plane.dot(name, IGR.last(paths[name]), 5);
      }
      paths.descent.slice(0, 200).forEach((point) => plane.dot("descent", point, 2.5));
      plane.cross(flattest);
      handle.place(state.start);
      rate.show(state.h);
      strength.show(state.mu);
      boxes.forEach((input, i) => (input.value = +state.start[i].toPrecision(5)));
      fill(ends);
      words.say(sentence(ends, steps, outcome));
    }

    function fill(ends) {
      table.replaceChildren();
      const head = stage.add(stage.add(table, "thead"), "tr");
      for (const text of ["end of", "at (a, b)", "R_IG/E", "from descent"])
        stage.add(head, "th", { scope: "col" }, text);
      const body = stage.add(table, "tbody");
      for (const [name, { end, ratio, distance }] of Object.entries(ends)) {
        const line = stage.add(body, "tr");
        stage.add(line, "th", { scope: "row" }, NAMES[name]);
        const gone = Number.isNaN(ratio) && name === "descent";
        const cells = [gone ? "diverged" : `(${end.map(stage.number).join(", ")})`, stage.number(ratio), stage.number(distance)];
        for (const text of cells) stage.add(line, "td", {}, text);
      }
    }

    function sentence(ends, steps, outcome) {
      const { start, h, mu } = state, say = stage.number;
      const from = `From (${start.map(say).join(", ")}) gradient descent with h = ${say(h)}`;
      if (outcome === "diverged") return `${from} diverges after ${steps} steps.`;
      const { descent, flow, modified, explicit } = ends;
      const nearer = modified.distance < flow.distance ? "nearer to the modified flow than to gradient flow" : "no nearer to the modified flow than to gradient flow";
      const flatter = descent.ratio < explicit.ratio ? "flatter" : "sharper";
      return `${from} ends ${nearer} (${say(modified.distance)} against ${say(flow.distance)}), ` +
        `at a ratio R_IG/E of ${say(descent.ratio)} where gradient flow has ${say(flow.ratio)}: ${flatter} than explicit regularization with μ = ${say(mu)}, which ends at ${say(explicit.ratio)}.` +
        (outcome === "stopped" ? ` After ${steps} steps it has not quite arrived.` : "");
    }

    plane.onresize.push(() => draw({}));
    choose(presets[+choice.value]);
  };
})((globalThis.IGR ??= {}));
