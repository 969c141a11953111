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
    const points = [start], times = [0];
    let kept = start;
    while (steps < most) {
      const pull = h * x * (y - a * b * x), u = a + pull * b, v = b + pull * a;
      const still = Math.abs(u - a) + Math.abs(v - b) <= 1e-15 * (Math.abs(u) + Math.abs(v));
      [a, b] = [u, v];
      steps++;
      if (!(Math.abs(a) + Math.abs(b) < DIVERGED)) { outcome = "diverged"; break; }
      // Steps too short to be seen are not kept.
      if (steps < 400 || Math.abs(a - kept[0]) + Math.abs(b - kept[1]) > 2e-3) {
        points.push((kept = [a, b]));
        times.push(h * steps);
      }
      if (still) { outcome = "arrived"; break; }
    }
    if (kept[0] !== a || kept[1] !== b) {
      points.push([a, b]);
      times.push(h * steps);
    }
    return { points, times, steps, outcome };
  }

  // Everything that the explorer shows: four paths, their ends, R_IG/E there, the distances. The
  // flows have time to arrive; if gradient descent was stopped before, as much time as it had.
  function compute({ start, h, mu, x, y }) {
    const descent = descend(h, start, x, y);
    const time = descent.outcome === "stopped" ? h * descent.steps : ARRIVED;
    const paths = { descent: descent.points }, times = { descent: descent.times };
    for (const [name, rate] of [["flow", 0], ["modified", h / 2], ["explicit", mu]])
      paths[name] = flow(rate, start, x, y, time, (times[name] = []));
    const ends = {}, lost = descent.outcome === "diverged";
    for (const [name, points] of Object.entries(paths)) {
      const end = IGR.last(points);
      ends[name] = {
        end,
        ratio: lost && name === "descent" ? NaN : x * x * length2(end),
        distance: lost ? NaN : IGR.distance(end, IGR.last(paths.descent)),
      };
    }
    return { paths, times, ends, steps: descent.steps, outcome: descent.outcome };
  }

  const WINDOWS = [4, 6, 8.5, 12, 17, 25, 35, 50, 70, 100, 150, 225, 350, 500, 1000, 1e4];
  const size = (p) => Math.max(...p.map(Math.abs));

  // From where to where both axes of the plane go: so that the ends are seen and every step that goes
  // outwards or changes sides; of a run that diverges, its first leaps. The start is seen if it is
  // not far off.
  function view({ start }, { paths, ends, outcome }) {
    const lost = outcome === "diverged", reach = lost ? 3 * Math.max(4, size(start)) : Infinity;
    const wanted = Object.keys(ends).filter((name) => !(lost && name === "descent")).map((name) => ends[name].end);
    paths.descent.forEach((p, n) => {
      if (!n) return;
      const leaps = p.some((v, i) => v * start[i] < 0) || Math.hypot(...p) > Math.hypot(...paths.descent[n - 1]);
      if (leaps && (size(p) < reach || n <= 2)) wanted.push(p);
    });
    if (size(start) <= 3 * Math.max(4, ...wanted.map(size))) wanted.push(start);
    const low = Math.min(...wanted.flat()), high = Math.max(...wanted.flat());
    const far = WINDOWS.find((limit) => limit >= Math.max(-low, high)) ?? IGR.last(WINDOWS);
    return [low < -0.05 ? -far : 0, high > 0.05 ? far : 0];
  }

  // The landmarks of h at a start: 2/λ_max, and 1/|x r_0| with the residual r_0 there.
  function landmarks(start, x, y) {
    const residual = Math.abs(x * (y - x * start[0] * start[1]));
    return { edge: 2 / IGR.model.sharpness(start, x, y), leap: 1 / residual };
  }

  // The step sizes that a slider goes through, from its step up: beyond 4/K with K = x²(a² + b²)
  // at the start gradient descent diverges.
  function sizes(start, x) {
    const wanted = 5 / (x * x * Math.max(length2(start), 1e-3)), ten = 10 ** Math.floor(Math.log10(wanted) - 1);
    return { high: +(ten * Math.ceil(wanted / ten - 1e-9)).toPrecision(3), step: +(ten / 10).toPrecision(3) };
  }

  // When every path is so near to its end that nothing more is seen to happen.
  function arrival({ paths, times, outcome }, far) {
    const near = ([name, path]) => {
      const end = outcome === "diverged" && name === "descent" ? null : IGR.last(path);
      const k = path.findIndex((p) => (end ? IGR.distance(p, end) < 0.005 * far : size(p) > far));
      return times[name][k < 0 ? path.length - 1 : k];
    };
    return Math.max(...Object.entries(paths).map(near));
  }

  const NAMES = {
    descent: "gradient descent", flow: "gradient flow of E", modified: "modified flow, of Ẽ", explicit: "flow of E + μR_IG",
  };

  // Which of two numbers is the smaller, as far as that is more than rounding.
  const compare = (p, q, [less, same, more]) =>
    Math.abs(p - q) <= 1e-6 * (p + q) + 1e-9 ? same : p < q ? less : more;

  // What is shown, in words; `say` writes a number.
  function sentence({ start, h, mu, x, y }, { ends, steps, outcome }, say) {
    const { descent, flow, modified, explicit } = ends;
    const from = `From (${start.map(say).join(", ")}) gradient descent with h = ${say(h)}`;
    const gaps = `${say(modified.distance)} against ${say(flow.distance)}`;
    if (outcome === "diverged") return `${from} diverges after ${steps} steps: |a| + |b| is beyond a million. The flows show nothing of it.`;
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

  IGR.phase = { compute, sentence, view, landmarks, sizes, arrival };

  // As long as a sentence gets.
  const longest = () => {
    const [p, far] = [[-0.1234, -0.1234], 0.001234], end = (ratio, end) => ({ end, ratio, distance: far });
    const ends = { descent: end(-0.1234, p), flow: end(far, [1, 1]), modified: end(far, p), explicit: end(far, p) };
    return sentence({ start: p, h: far, mu: far, x: 1, y: p[0] * p[1] }, { ends, steps: 0, outcome: "arrived" }, IGR.stage.number);
  };

  IGR.explorers ??= {};
  IGR.explorers.phase = function (root, data) {
    const { stage, alive } = IGR;
    const { x, y, presets, flattest, mu: strengths } = data;
    const state = { x, y };
    let found, window, target, ended = () => {}, held = false, range;

    const controls = stage.controls(root);
    const label = ({ point, size, h }) => `point ${point}, ${size} step h = ${stage.number(h)}`;
    const options = [...presets.map((p, i) => [i, label(p)]), ["custom", "custom"]];
    const choice = stage.choice(controls, "Setting", options, 0, (i) => choose(presets[i]));
    // To be seen, not to be chosen.
    choice.lastChild.disabled = true;
    const boxes = ["a", "b"].map((name, i) => {
      const [input] = stage.labelled(controls, `Start, ${name}`, "input", { type: "number", step: 0.1, min: -100, max: 100 });
      input.addEventListener("change", () => {
        const typed = input.valueAsNumber, value = Number.isFinite(typed) ? Math.min(100, Math.max(-100, typed)) : state.start[i];
        set({ start: state.start.map((old, j) => (j === i ? value : old)) });
      });
      return input;
    });
    const dials = stage.controls(root);
    const rate = alive.scale(dials, "Learning rate h", (h) => set({ h }));
    const strength = alive.scale(dials, "Explicit rate μ", (mu) => set({ mu }));
    strength.limits(...strengths);
    const words = stage.words(root, longest());
    const row = stage.row(root);
    const plane = stage.plot(row, "Phase plane of a and b with four paths to the minima", "a", "b", 0.9);
    const handle = stage.handle(plane, "Starting point", (start) => set({ start: start.map((v) => +v.toPrecision(4)) }));
    const guide = alive.guide(root, plane, { reset: () => choose(presets[0]), frame: (s) => play(s), rest: () => paint(), seconds: 4 });
    stage.legend(root, [...Object.entries(NAMES), ["guide", "the minima, ab = y/x"], ["cross", "the two flattest minima"]]);
    const table = stage.add(stage.add(root, "div", { class: "igr-scroll" }), "table");

    // Under a hand that holds the start the plane does not move; when it lets go, it follows.
    plane.above.addEventListener("pointerdown", () => (held = true));
    for (const event of ["pointerup", "pointercancel"])
      plane.above.addEventListener(event, () => {
        held = false;
        follow();
      });

    const backgrounds = new Map();
    function levels([low, high]) {
      const key = `${low} ${high}`, far = Math.max(-low, high);
      if (!backgrounds.has(key))
        backgrounds.set(key, IGR.contours((p) => loss(p, x, y), [low, high], [low, high], IGR.geometric(0.02, 60 * Math.max(1, far / 4.2) ** 4, 8)));
      return backgrounds.get(key);
    }
    const minima = IGR.geometric(y / x / 1e4, 1e4, 600).map((a) => [a, y / x / a]);
    const other = (point) => point.map((value) => -value);

    // The setting of Table A.1, or another with all of one of its numbers.
    function choose({ point, start, h, mu }) {
      range = sizes(start, x);
      state.point = point;
      set({ start, h, mu });
    }

    function set(change) {
      guide.stop();
      Object.assign(state, change);
      const { start, h, mu } = state;
      // As long as the slider tells anything at this start.
      const wanted = sizes(start, x);
      if (!range || wanted.high > 10 * range.high || range.high > 4 * wanted.high) range = wanted;
      found = compute(state);
      const same = (p) => p.h === h && p.mu === mu && p.start.every((v, i) => v === start[i]);
      const preset = presets.findIndex(same);
      choice.value = preset < 0 ? "custom" : preset;
      if (preset >= 0) state.point = presets[preset].point;
      rate.limits(range.step, range.high, range.step, { least: 1e-9, most: 10 });
      rate.show(h);
      strength.show(mu);
      const { edge, leap } = landmarks(start, x, y);
      rate.mark([
        ...presets.filter((p) => p.point === state.point).sort((p, q) => p.h - q.h)
          .map((p) => ({ value: p.h, name: `h_${p.size[0].toUpperCase()}`, meaning: `the ${p.size} step of point ${p.point}` })),
        { value: edge, name: "2/λ", meaning: "the edge of stability at the start, 2/λ", row: 1 },
        { value: leap, name: "1/|x r₀|", meaning: "the first step lands on the line of the flattest minima", row: 1 },
      ]);
      strength.mark([{ value: h / 2, name: "h/2", meaning: "as strong as the implicit regularization" }]);
      boxes.forEach((input, i) => (input.value = +state.start[i].toPrecision(5)));
      fill(found.ends);
      words.say(sentence(state, found, stage.number));
      if (held) paint();
      else follow();
    }

    // The plane goes where the paths go.
    function follow() {
      const wanted = view(state, found), changed = !target || wanted.some((v, i) => v !== target[i]);
      if (!changed) return paint();
      ended();
      const from = window;
      target = wanted;
      const apply = (limits) => {
        window = limits;
        plane.limits(limits, limits);
        paint();
      };
      if (from) ended = alive.glide(from, wanted, apply);
      else apply(wanted);
    }

    // What is played, from 0 to 1: the paths by one clock.
    const play = (s) => paint(arrival(found, Math.max(...target.map(Math.abs))) * s ** 1.5);

    function paint(t = Infinity) {
      const { paths, times, outcome } = found, far = window[1] - window[0];
      plane.clear();
      const background = levels(target);
      plane.behind(() => {
        plane.pieces("level", background);
        plane.line("guide", minima);
        plane.line("guide", minima.map(other));
      }, background);
      const shown = Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, alive.until(path, times[name], t)]));
      const steps = times.descent.filter((time) => time <= t).length;
      plane.dots("descent", paths.descent.slice(0, Math.min(200, steps)), 2.5);
      for (const name of ["descent", "flow", "explicit", "modified"]) {
        plane.line(name, shown[name]);
        plane.dot(name, IGR.last(shown[name]), 5);
      }
      plane.cross(flattest);
      plane.cross(other(flattest));
      if (outcome === "diverged" && t === Infinity) alive.badge(plane, "gradient descent diverges");
      handle.place(state.start);
      guide.invite(state.start);
    }

    function fill(ends) {
      table.replaceChildren();
      const head = stage.add(stage.add(table, "thead"), "tr");
      for (const text of ["where it ends", "(a, b)", "curvature there, R_IG/E", "distance to descent"])
        stage.rich(stage.add(head, "th", { scope: "col" }), text);
      const body = stage.add(table, "tbody");
      for (const [name, { end, ratio, distance }] of Object.entries(ends)) {
        const line = stage.add(body, "tr");
        const title = stage.add(line, "th", { scope: "row" });
        stage.add(title, "span", { class: `igr-key igr-${name}`, "aria-hidden": "true" });
        stage.rich(stage.add(title, "span"), NAMES[name]);
        const apart = name === "descent" ? "" : stage.number(distance);
        const cells = [Number.isNaN(ratio) ? "diverges" : `(${end.map(stage.number).join(", ")})`, stage.number(ratio), apart];
        for (const text of cells) stage.add(line, "td", {}, text);
      }
    }

    plane.onresize.push(() => paint());
    choose(presets[0]);
    const allowed = { start: [-100, 100], h: [1e-9, 10], mu: [strength.low, strength.high] };
    IGR.address(root, { state: () => state, allowed, take: set, play: guide.play });
  };
})((globalThis.IGR ??= {}));
