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
    const times = { flow: [], modified: [] };
    const paths = { flow: flow(0, start, x, y, ARRIVED, times.flow), modified: flow(h / 2, start, x, y, ARRIVED, times.modified) };
    const ends = { descent: sharpness(IGR.last(run.points), x, y) };
    for (const [name, path] of Object.entries(paths)) ends[name] = sharpness(IGR.last(path), x, y);
    return { ...run, steps: losses.length - 1, peak, settled, paths, times, ends };
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

  // As long as a sentence gets.
  const LONGEST = "From (−0.123, −0.123) with h = 0.123, hλ_max is 0.123 at first, within the edge at 2. The loss rises to 0.123, 123 times what it was, at step 123. " +
    "From step 123 on hλ_max is below 2. Gradient descent ends at a minimum with λ_max = 0.123, hλ_max = 0.123. The flow of E ends at a minimum with λ_max = 0.123, that of Ẽ at 0.123.";

  IGR.explorers ??= {};
  IGR.explorers.catapult = function (root, data) {
    const { stage, alive } = IGR;
    const { x, y, presets, first, h: [low, high], window } = data;
    const state = { x, y };
    let found, seen;
    const controls = stage.controls(root);
    const label = ({ start, h }) => `from (${start.map(stage.number).join(", ")}) with h = ${stage.number(h)}`;
    const options = [...presets.map((p, i) => [i, label(p)]), ["custom", "custom"]];
    const choice = stage.choice(controls, "Run", options, first, (i) => set(presets[i]));
    // To be seen, not to be chosen.
    choice.lastChild.disabled = true;
    const dials = stage.controls(root);
    dials.classList.add("igr-stick");
    const dial = alive.scale(dials, "Learning rate h", (h) => set({ h }));
    dial.limits(low, high, 0.002);
    const words = stage.words(root, LONGEST);
    const row = stage.row(root);
    const plane = stage.plot(row, "Plane of a and b with the region where λ_max is beyond 2/h, and a run", "a", "b", 0.9);
    const close = stage.plot(row, "The run, enlarged", "a, enlarged", "b", 0.9);
    const below = stage.row(root);
    const sharps = stage.plot(below, "hλ_max after each step", "step", "hλ", 0.5);
    const curve = stage.plot(below, "The loss after each step", "step", "E", 0.5);
    const handle = stage.handle(plane, "Starting point", (start) => set({ start: start.map((v) => +v.toPrecision(4)) }));
    const guide = alive.guide(root, plane, { reset: () => set(presets[first]), frame: (s) => paint(played() * s ** 1.5), rest: () => paint(), seconds: 4 });
    stage.legend(root, [["descent", "steps of gradient descent"], ["flow", "flow of E"], ["modified", "flow of Ẽ"], ["shaded", "λ_max > 2/h"],
      ["landmark", "h = 2/λ and 4/K at the start, λ = λ_max, K = x²(a² + b²)"]]);
    plane.limits(window, window);
    const levels = IGR.contours((p) => loss(p, x, y), window, window, IGR.geometric(0.02, 60, 8));
    const minima = IGR.geometric(y / x / 8, 8, 100).map((a) => [a, y / x / a]);
    const branches = [minima, minima.map(([a, b]) => [-a, -b])];

    function set({ start = state.start, h = state.h }) {
      guide.stop();
      Object.assign(state, { start, h });
      found = compute(state);
      seen = found.points.map((p) => Math.max(...p.map(Math.abs)) < window[1]);
      const preset = presets.findIndex((p) => p.h === h && p.start.every((v, i) => v === start[i]));
      choice.value = preset < 0 ? "custom" : preset;
      dial.show(h);
      const [two, four] = landmarks(start, x, y);
      dial.mark([{ value: two, name: "2/λ", meaning: "the edge of stability at the start, 2/λ" }, { value: four, name: "4/K", meaning: "beyond, gradient descent diverges, 4/K", row: 1 }]);
      paint();
      words.say(sentence(state, found, stage.number));
    }

    // The steps that are played: until nothing more is seen to happen.
    function played() {
      const { points, outcome, steps } = found, end = IGR.last(points);
      if (outcome === "diverged") return steps;
      const near = points.findLastIndex((p) => IGR.distance(p, end) > 0.02);
      return Math.max(1, Math.min(steps, near + 10));
    }

    // All of it, or while it is played what there is after n steps.
    function paint(n = Infinity) {
      const { start, h } = state, { points, losses, sharp, paths, times } = found, shown = Math.floor(n) + 1;
      const [middle, size] = IGR.around([...points.filter((_, i) => seen[i]), ...paths.flow, ...paths.modified]), half = Math.max(size, 0.02);
      close.limits(...middle.map((m) => [m - half, m + half]));
      const ring = edge(h, x, y), far = 1e3, all = [[-far, -far], [far, -far], [far, far], [-far, far]];
      const flows = Object.entries(paths).map(([name, path]) => [name, alive.until(path, times[name], n * h)]);
      const run = points.slice(0, shown), dots = run.filter((_, i) => seen[i]).slice(0, 400);
      for (const view of [plane, close]) {
        view.behind(() => {
          if (view === plane) view.pieces("level", levels);
          branches.forEach((branch) => view.line("guide", branch));
        });
        view.clear();
        view.area([all, ring]);
        view.line("descent igr-faint", run);
        view.dots("descent", dots, 2.5);
        for (const [name, path] of flows) {
          view.line(name, path);
          view.dot(name, IGR.last(path), 4);
        }
        if (found.outcome !== "diverged" || n < Infinity) view.dot("descent", IGR.last(run), 5);
      }
      const steps = [0, Math.max(40, found.steps)];
      sharps.limits(steps, [0, Math.max(3.6, Math.min(8, 1.1 * Math.max(...sharp)))]);
      sharps.clear();
      sharps.area([[[0, 2], [0, 9], [steps[1], 9], [steps[1], 2]]]);
      sharps.line("descent", sharp.slice(0, shown).map((value, k) => [k, value]));
      const highest = Math.min(1e3, Math.max(1, ...losses));
      curve.limits(steps, [1e-12, 100 * highest], [false, true]);
      curve.clear();
      curve.line("descent", losses.slice(0, shown).map((value, k) => [k, Math.max(value, 1e-14)]));
      if (found.outcome === "diverged" && n === Infinity) alive.badge(plane, "gradient descent diverges");
      handle.place(start);
      guide.invite(start);
    }
    for (const drawn of [plane, close, sharps, curve]) drawn.onresize.push(() => paint());
    set(presets[first]);
    IGR.address(root, { state: () => state, allowed: { start: window, h: [low, high] }, take: set, play: guide.play });
  };
})((globalThis.IGR ??= {}));
