// The first page: the river of chapter 1, E = (y − sin x)²/2. Steps hop, and the flows of E and Ẽ
// run, by the same clock.
(function (IGR) {
  "use strict";

  const UNTIL = 10; // when both flows are at rest
  const SEEN = 5; // of it is played
  const SECONDS = 4;
  const MOST = 400; // steps
  const START = [1.5, -2.5];
  const NAMED = -0.75; // the x at which the bed has its name
  const H = { min: 0.05, max: 0.9, step: 0.05, first: 0.5 };
  // Close together at first, where the flows are fast.
  const TIMES = IGR.range(161, (k) => UNTIL * (k / 160) ** 2);

  const level = ([x, y]) => y - Math.sin(x);
  const curvature = ([x]) => 1 + Math.cos(x) ** 2; // across the valley, on its bed
  const gradient = (p) => [-level(p) * Math.cos(p[0]), level(p)];
  function product(p, v) {
    const c = level(p), across = v[1] - Math.cos(p[0]) * v[0];
    return [-Math.cos(p[0]) * across + c * Math.sin(p[0]) * v[0], across];
  }
  const fields = (h) => ({
    flow: (p) => gradient(p).map((g) => -g),
    modified: (p) => {
      const g = gradient(p), Hg = product(p, g);
      return g.map((value, i) => -value - (h / 2) * Hg[i]);
    },
  });

  // The steps until they are at rest, and where both flows are at the times of `TIMES`.
  function compute({ start, h }) {
    const paths = { descent: [start] };
    while (paths.descent.length <= MOST && Math.abs(level(IGR.last(paths.descent))) > 1e-9) {
      const p = IGR.last(paths.descent), g = gradient(p);
      paths.descent.push(p.map((value, i) => value - h * g[i]));
    }
    for (const [name, field] of Object.entries(fields(h))) {
      paths[name] = [start];
      for (let k = 1; k < TIMES.length; k++)
        paths[name].push(IGR.last(IGR.flow(field, IGR.last(paths[name]), TIMES[k] - TIMES[k - 1], 1e-10)));
    }
    const ends = Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, IGR.last(path)]));
    return { paths, ends, steps: paths.descent.length - 1, curvatures: Object.fromEntries(Object.entries(ends).map(([name, p]) => [name, curvature(p)])) };
  }

  // Where a flow is at a time, and the part of its path until then.
  function until(path, t) {
    const k = TIMES.findIndex((time) => time > t);
    if (k < 0) return path;
    const s = (t - TIMES[k - 1]) / (TIMES[k] - TIMES[k - 1]);
    return [...path.slice(0, k), path[k - 1].map((value, i) => value + s * (path[k][i] - value))];
  }

  // Where the point between two steps is: it leaps, higher for a longer step.
  function leap(from, to, s) {
    const far = IGR.distance(from, to);
    return [from[0] + s * (to[0] - from[0]), from[1] + s * (to[1] - from[1]) + 0.6 * far * s * (1 - s)];
  }

  function sentence({ h }, { curvatures, steps }, say) {
    const { descent, flow, modified } = curvatures, [ours, theirs] = [descent, flow].map(say);
    if (!steps) return "On the bed of the river the gradient is 0, and nothing moves.";
    const end = ours === theirs ? "as flat as" : descent < flow ? "flatter than" : "sharper than";
    return `Steps of h = ${say(h)} end at a minimum ${end} the one that gradient flow reaches: ` +
      `the curvature across the river is ${ours} there${ours === theirs ? "" : ` and not ${theirs}`}. The flow of E + (h/4)‖∇E‖² says ${say(modified)}.`;
  }

  IGR.river = { compute, curvature, gradient, product, sentence, start: START, named: NAMED, first: H.first, times: TIMES };

  // As long as a sentence gets.
  const LONGEST = "Steps of h = 0.55 end at a minimum flatter than the one that gradient flow reaches: " +
    "the curvature across the river is 1.55 there and not 1.55. The flow of E + (h/4)‖∇E‖² says 1.55.";

  IGR.explorers ??= {};
  IGR.explorers.river = function (root) {
    const { stage } = IGR;
    root.querySelector(".igr-still")?.remove();
    const state = { start: START, h: H.first };
    let found, touched = false;
    // As high as the still picture; wide pages show more of the river.
    const height = (width) => Math.min(340, Math.max(260, 0.5 * width));
    const plane = stage.plot(stage.row(root), "The river, with the steps and both flows", "", "", height, true, 0);
    const handle = stage.handle(plane, "Start", (start) => {
      touched = true;
      set({ start: start.map((v) => +v.toPrecision(4)) });
    }, { text: ([u, v]) => `x = ${stage.number(u)}, y = ${stage.number(v)}` });
    const controls = stage.controls(root);
    const [slider, box] = stage.labelled(controls, "Step size h", "input", { type: "range", min: H.min, max: H.max, step: H.step });
    const output = stage.add(box, "span", { class: "igr-value", "aria-hidden": "true" });
    slider.addEventListener("input", () => set({ h: +slider.value }));
    const player = IGR.player(root, plane.svg, SECONDS, (s) => draw(s < 1 ? SEEN * s ** 1.5 : Infinity), reset);
    player.buttons([], controls);
    const words = stage.words(root, LONGEST);

    function set(change) {
      player.stop();
      Object.assign(state, change);
      found = compute(state);
      slider.value = state.h;
      output.textContent = stage.number(state.h);
      slider.setAttribute("aria-valuetext", stage.number(state.h));
      draw(Infinity);
      words.say(sentence(state, found, stage.number));
    }
    function reset() {
      touched = false;
      set({ start: START, h: H.first });
    }

    function draw(t) {
      const { h, start } = state, { paths } = found;
      const scale = 4.1 / plane.height, across = plane.width * scale;
      plane.limits([1.1 - across / 2, 1.1 + across / 2], [-2.8, 1.3]);
      const bank = (c) => IGR.range(121, (i) => plane.x[0] + (across * i) / 120).map((x) => [x, Math.sin(x) + c]);
      plane.clear();
      plane.behind(() => {
        for (const c of [0.1, 0.3, 0.6, 1, 1.5, 2.1, 2.8]) plane.area([[...bank(c), ...bank(-c).reverse()]]);
        plane.line("bed", bank(0));
        plane.note([NAMED, Math.sin(NAMED)], "minima of E", { kind: "bed", anchor: "start", dx: 12, dy: 18 });
      });
      plane.line("flow", until(paths.flow, t));
      plane.line("modified", until(paths.modified, t));
      const n = Math.min(found.steps, Math.floor(t / h));
      plane.dots("descent", paths.descent.slice(0, n + 1), 4);
      if (t < Infinity) {
        const next = paths.descent[n + 1];
        if (next) plane.dot("descent", leap(paths.descent[n], next, t / h - n), 6);
        for (const name of ["flow", "modified"]) plane.dot(name, IGR.last(until(paths[name], t)), 6);
      } else {
        const { flow, descent } = found.ends, side = descent[0] < flow[0] ? -1 : 1;
        const narrow = plane.width < 560; // where long names would be cut
        const anchors = side < 0 ? ["start", "end"] : ["end", "start"];
        plane.dot("flow", flow, 6);
        plane.note(flow, narrow ? "flow of E" : "gradient flow of E", { kind: "flow", anchor: anchors[0], dx: -12 * side });
        plane.note(descent, narrow ? "gradient descent" : "steps of gradient descent", { kind: "descent", anchor: anchors[1], dx: 14 * side, dy: -8 });
        plane.note(descent, "flow of E + (h/4)‖∇E‖²", { kind: "modified", anchor: anchors[1], dx: 14 * side, dy: 12 });
      }
      if (!touched) plane.note(start, "drag me", { anchor: "start", dx: 16, dy: 4 });
      handle.place(start);
    }

    plane.onresize.push(() => draw(Infinity));
    set(state);
    player.once();
    IGR.address(root, { state: () => state, allowed: { start: [-100, 100], h: [H.min, H.max] }, take: set, play: player.play });
  };
})((globalThis.IGR ??= {}));
