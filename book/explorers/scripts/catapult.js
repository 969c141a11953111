// Chapter 10: gradient descent of the two-parameter model where λ_max is beyond 2/h.
(function (IGR) {
  "use strict";

  const DIVERGED = 1e6;
  const MOST_STEPS = 2000; // so that a frame stays short
  const ARRIVED = 30; // the time that the flows have
  const { loss, length2, gradient, flow, sharpness } = IGR.model;

  // Gradient descent until it has arrived where it is stable, stands still, or diverges.
  function descend(h, start, x, y) {
    const points = [start], losses = [loss(start, x, y)], sharp = [h * sharpness(start, x, y)];
    let p = start, outcome = "stopped";
    while (points.length <= MOST_STEPS) {
      const g = gradient(p, x, y), slope = Math.hypot(...g), E = IGR.last(losses);
      if (E > 1e-6 && slope < 1e-9) outcome = "saddle";
      else if (slope === 0) outcome = points.length > 1 ? "arrived" : "still";
      else if (E < 1e-14 && IGR.last(sharp) < 2) outcome = "arrived";
      if (outcome !== "stopped") break;
      p = p.map((value, i) => value - h * g[i]);
      points.push(p);
      losses.push(loss(p, x, y));
      sharp.push(h * sharpness(p, x, y));
      if (!(Math.hypot(...p) < DIVERGED)) { outcome = "diverged"; break; }
    }
    return { points, losses, sharp, outcome };
  }

  // Everything that the explorer shows: the run with its loss and hλ_max, both flows, λ_max where
  // the run and the flows end, the step with the highest loss, and the first of those that are all
  // within the edge.
  function compute({ start, h, x, y }) {
    const run = descend(h, start, x, y), { losses, sharp } = run;
    const peak = losses.indexOf(Math.max(...losses));
    let settled = sharp.length;
    while (settled > 0 && sharp[settled - 1] < 2) settled--;
    const paths = { flow: flow(0, start, x, y, ARRIVED), modified: flow(h / 2, start, x, y, ARRIVED) };
    const ends = { descent: sharpness(IGR.last(run.points), x, y) };
    for (const [name, path] of Object.entries(paths)) ends[name] = sharpness(IGR.last(path), x, y);
    return { ...run, steps: losses.length - 1, peak, settled, paths, ends };
  }

  // Where hλ_max = 2: in every direction from the origin λ_max is 2/h once, as long as 2/h > |xy|.
  function edge(h, x, y, n = 240) {
    const far = 4 / h, k = x * y;
    if (far <= 2 * Math.abs(k)) return [];
    return IGR.range(n, (i) => {
      const angle = (2 * Math.PI * i) / n, s = Math.sin(2 * angle), half = far - 4 * s * k, rest = far * far - 4 * k * k;
      // x²(a² + b²), the greater root of 3s²u² + 2·half·u − rest = 0.
      const u = rest / (half + Math.sqrt(half * half + 3 * s * s * rest));
      const r = Math.sqrt(u) / Math.abs(x);
      return [r * Math.cos(angle), r * Math.sin(angle)];
    });
  }

  // The landmarks of h at a start: 2/λ_max, and 4/K with K = x²(a² + b²), which is λ_max on the minima.
  const landmarks = (start, x, y) => [2 / sharpness(start, x, y), 4 / (x * x * length2(start))];

  // What is shown, in words; `say` writes a number.
  function sentence({ start, h, x, y }, { losses, sharp, outcome, steps, peak, settled, ends }, say) {
    const side = sharp[0] > 2 ? "beyond the edge at 2" : "within the edge at 2";
    const from = `From (${start.map(say).join(", ")}) with h = ${say(h)}, hλ_max is ${say(sharp[0])} at first, ${side}. `;
    const flows = `The flow of E ends at a minimum with λ_max = ${say(ends.flow)}, that of Ẽ at ${say(ends.modified)}`;
    if (outcome === "still") return `${from}The gradient is 0 here, and nothing moves${sharp[0] > 2 ? ", but the smallest push would grow" : ""}.`;
    if (outcome === "saddle") return `${from}The steps come to rest at the origin, a saddle.`;
    if (outcome === "diverged")
      return `${from}Gradient descent diverges: after ${steps} steps |θ| is beyond a million. h·K, K = x²(a² + b²), is ${say(h * x * x * length2(start))} at the start. ${flows}.`;
    const rose = losses[peak] > losses[0] * (1 + 1e-9);
    const loss = rose ? `The loss rises to ${say(losses[peak])}, ${say(losses[peak] / losses[0])} times what it was, at step ${peak}. ` : "The loss is never above its first value. ";
    const crossed = settled > steps ? "" : settled > 0 ? `From step ${settled} on hλ_max is below 2. ` : "";
    if (outcome === "stopped") return `${from}${loss}${crossed}After ${steps} steps gradient descent has not arrived; hλ_max is ${say(IGR.last(sharp))}.`;
    return `${from}${loss}${crossed}Gradient descent ends at a minimum with λ_max = ${say(ends.descent)}, hλ_max = ${say(IGR.last(sharp))}. ${flows}.`;
  }

  IGR.catapult = { compute, edge, landmarks, sentence };

  IGR.explorers ??= {};
  IGR.explorers.catapult = function (root, data) {
    const { stage } = IGR;
    const { x, y, presets, first, h: [low, high], window } = data;
    const state = { x, y };
    const controls = stage.controls(root);
    const label = ({ start, h }) => `from (${start.map(stage.number).join(", ")}) with h = ${stage.number(h)}`;
    stage.choice(controls, "Run", presets.map((p, i) => [i, label(p)]), first, (i) => draw(presets[i]));
    const dial = stage.dial(controls, "Learning rate h", { min: low, max: high, step: 0.002 }, (h) => draw({ h }));
    const row = stage.row(root);
    const plane = stage.plot(row, "Plane of a and b with the region where λ_max is beyond 2/h, and a run", "a", "b", 0.9);
    const close = stage.plot(row, "The run, enlarged", "a, enlarged", "b", 0.9);
    const below = stage.row(root);
    const sharps = stage.plot(below, "hλ_max after each step", "step", "hλ", 0.5);
    const curve = stage.plot(below, "The loss after each step", "step", "E", 0.5);
    stage.legend(root, [["descent", "steps of gradient descent"], ["flow", "flow of E"], ["modified", "flow of Ẽ"], ["shaded", "λ_max > 2/h"],
      ["landmark", "h = 2/λ and 4/K at the start, λ = λ_max, K = x²(a² + b²)"]]);
    const words = stage.words(root);
    const handle = stage.handle(plane, "Starting point", (start) => draw({ start }));
    plane.limits(window, window);
    const levels = IGR.contours((p) => loss(p, x, y), window, window, IGR.geometric(0.02, 60, 8));
    const minima = IGR.geometric(y / x / 8, 8, 100).map((a) => [a, y / x / a]);
    const branches = [minima, minima.map(([a, b]) => [-a, -b])];

    function draw(change) {
      const { start, h } = Object.assign(state, { start: change.start ?? state.start, h: change.h ?? state.h });
      const found = compute(state), { points, losses, sharp, paths } = found;
      const seen = points.filter((p) => Math.max(...p.map(Math.abs)) < window[1]);
      const [middle, size] = IGR.around([...seen, ...paths.flow, ...paths.modified]), half = Math.max(size, 0.02);
      close.limits(...middle.map((m) => [m - half, m + half]));
      const ring = edge(h, x, y), far = 1e3, all = [[-far, -far], [far, -far], [far, far], [-far, far]];
      for (const view of [plane, close]) {
        view.clear();
        view.area([all, ring]);
        if (view === plane) view.pieces("level", levels);
        branches.forEach((branch) => view.line("guide", branch));
        view.line("descent igr-faint", points);
        seen.slice(0, 400).forEach((point) => view.dot("descent", point, 2.5));
        for (const name of ["flow", "modified"]) {
          view.line(name, paths[name]);
          view.dot(name, IGR.last(paths[name]), 4);
        }
        if (found.outcome !== "diverged") view.dot("descent", IGR.last(points), 5);
      }
      const steps = [0, Math.max(40, found.steps)];
      sharps.limits(steps, [0, Math.max(3.6, Math.min(8, 1.1 * Math.max(...sharp)))]);
      sharps.clear();
      sharps.area([[[0, 2], [0, 9], [steps[1], 9], [steps[1], 2]]]);
      sharps.line("descent", sharp.map((value, n) => [n, value]));
      const highest = Math.min(1e3, Math.max(1, ...losses));
      curve.limits(steps, [1e-12, 100 * highest], [false, true]);
      curve.clear();
      curve.line("descent", losses.map((value, n) => [n, Math.max(value, 1e-14)]));
      handle.place(start);
      dial.show(h);
      const [two, four] = landmarks(start, x, y);
      dial.mark([[two, "2/λ"], [four, "4/K"]]);
      words.say(sentence(state, found, stage.number));
    }
    for (const drawn of [plane, close, sharps, curve]) drawn.onresize.push(() => draw({}));
    draw(presets[first]);
  };
})((globalThis.IGR ??= {}));
