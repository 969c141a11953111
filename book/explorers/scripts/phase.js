// Chapter 3: the phase plane of f(x; a, b) = abx, as in Figures 1a and A.1 of the paper.
(function (IGR) {
  "use strict";

  const DIVERGED = 1e6;
  const MOST_STEPS = 100000; // so that a frame stays short
  const ARRIVED = 30;

  const { loss, length2, flow } = IGR.model;

  // Gradient descent until it stands still, diverges, or has made so many steps.
  function descend(h, start, x, y, most = MOST_STEPS) {
    let [a, b] = start, steps = 0, outcome = "stopped";
    const points = [start];
    let kept = start;
    while (steps < most) {
      const pull = h * x * (y - a * b * x), u = a + pull * b, v = b + pull * a;
      const still = Math.abs(u - a) + Math.abs(v - b) <= 1e-15 * (Math.abs(u) + Math.abs(v));
      [a, b] = [u, v];
      steps++;
      if (!(Math.abs(a) + Math.abs(b) < DIVERGED)) { outcome = "diverged"; break; }
      // Steps too short to be seen are not kept.
      if (steps < 400 || Math.abs(a - kept[0]) + Math.abs(b - kept[1]) > 2e-3) points.push((kept = [a, b]));
      if (still) { outcome = "arrived"; break; }
    }
    if (kept[0] !== a || kept[1] !== b) points.push([a, b]);
    return { points, steps, outcome };
  }

  // Everything that the explorer shows: four paths, their ends, R_IG/E there, the distances. The
  // flows have time to arrive; if gradient descent was stopped before, as much time as it had.
  function compute({ start, h, mu, x, y }) {
    const descent = descend(h, start, x, y);
    const time = descent.outcome === "stopped" ? h * descent.steps : ARRIVED;
    const paths = {
      descent: descent.points,
      flow: flow(0, start, x, y, time),
      modified: flow(h / 2, start, x, y, time),
      explicit: flow(mu, start, x, y, time),
    };
    const ends = {}, lost = descent.outcome === "diverged";
    for (const [name, points] of Object.entries(paths)) {
      const end = IGR.last(points);
      ends[name] = {
        end,
        ratio: lost && name === "descent" ? NaN : x * x * length2(end),
        distance: lost ? NaN : IGR.distance(end, IGR.last(paths.descent)),
      };
    }
    return { paths, ends, steps: descent.steps, outcome: descent.outcome };
  }

  const NAMES = {
    descent: "gradient descent", flow: "gradient flow of E", modified: "modified flow, of Ẽ", explicit: "explicit, E + μR_IG",
  };

  // Which of two numbers is the smaller, as far as that is more than rounding.
  const compare = (p, q, [less, same, more]) =>
    Math.abs(p - q) <= 1e-6 * (p + q) + 1e-9 ? same : p < q ? less : more;

  // What is shown, in words; `say` writes a number.
  function sentence({ start, h, mu, x, y }, { ends, steps, outcome }, say) {
    const { descent, flow, modified, explicit } = ends;
    const from = `From (${start.map(say).join(", ")}) gradient descent with h = ${say(h)}`;
    const gaps = `${say(modified.distance)} against ${say(flow.distance)}`;
    if (outcome === "diverged") return `${from} diverges after ${steps} steps.`;
    if (outcome === "stopped")
      return `${from} has not arrived after ${steps} steps, at the time ${say(h * steps)}. ` +
        `The flows are shown at the same time: the modified flow and gradient flow are ${gaps} away.`;
    if (loss(descent.end, x, y) > 1e-6) return `${from} comes to rest at the origin, a saddle: the gradient is 0 there, and nothing moves any more.`;
    const ratio = `a ratio R_IG/E of ${say(descent.ratio)} where gradient flow has ${say(flow.ratio)}`;
    const flatter = compare(descent.ratio, explicit.ratio, ["flatter than", "as flat as", "sharper than"]);
    const rest = `${flatter} explicit regularization with μ = ${say(mu)}, which ends at ${say(explicit.ratio)}.`;
    if (descent.end[0] * flow.end[0] < 0) return `${from} leaps to the other branch of minima, where neither flow goes, and ends at ${ratio}: ${rest}`;
    const nearer = compare(modified.distance, flow.distance, ["nearer to the modified flow than to gradient flow", "where both flows end", "nearer to gradient flow than to the modified flow"]);
    return `${from} ends ${nearer} (${gaps}), at ${ratio}: ${rest}`;
  }

  IGR.phase = { compute, sentence };

  IGR.explorers ??= {};
  IGR.explorers.phase = function (root, data) {
    const { stage } = IGR;
    const { x, y, presets, flattest, h: rates, mu: strengths } = data;
    const state = { x, y };
    const controls = stage.controls(root);
    const label = ({ point, size, h }) => `point ${point}, ${size} step h = ${stage.number(h)}`;
    const choice = stage.choice(controls, "Setting", presets.map((p, i) => [i, label(p)]), 0, (i) => choose(presets[i]));
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

    let levels;
    function choose({ start, h, mu, window }) {
      plane.limits(window, window);
      levels = IGR.contours((p) => loss(p, x, y), window, window, IGR.geometric(0.02, 60, 8));
      draw({ start, h, mu });
    }
    const minima = IGR.geometric(y / x / 4.2, 4.2, 80).map((a) => [a, y / x / a]);
    const other = (point) => point.map((value) => -value);

    function draw(change) {
      Object.assign(state, change);
      const found = compute(state), { paths, ends } = found;
      plane.clear();
      plane.pieces("level", levels);
      plane.line("guide", minima);
      plane.line("guide", minima.map(other));
      paths.descent.slice(0, 200).forEach((point) => plane.dot("descent", point, 2.5));
      for (const name of ["descent", "flow", "explicit", "modified"]) {
        plane.line(name, paths[name]);
        plane.dot(name, IGR.last(paths[name]), 5);
      }
      plane.cross(flattest);
      plane.cross(other(flattest));
      handle.place(state.start);
      rate.show(state.h);
      strength.show(state.mu);
      boxes.forEach((input, i) => (input.value = +state.start[i].toPrecision(5)));
      fill(ends);
      words.say(sentence(state, found, stage.number));
    }

    function fill(ends) {
      table.replaceChildren();
      const head = stage.add(stage.add(table, "thead"), "tr");
      for (const text of ["end of", "at (a, b)", "R_IG/E", "from descent’s end"])
        stage.add(head, "th", { scope: "col" }, text);
      const body = stage.add(table, "tbody");
      for (const [name, { end, ratio, distance }] of Object.entries(ends)) {
        const line = stage.add(body, "tr");
        stage.add(line, "th", { scope: "row" }, NAMES[name]);
        const cells = [Number.isNaN(ratio) ? "diverged" : `(${end.map(stage.number).join(", ")})`, stage.number(ratio), stage.number(distance)];
        for (const text of cells) stage.add(line, "td", {}, text);
      }
    }

    plane.onresize.push(() => draw({}));
    choose(presets[+choice.value]);
  };
})((globalThis.IGR ??= {}));
