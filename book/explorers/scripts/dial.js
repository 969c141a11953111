// Chapter 8: a weight w whose length does not matter, E = 1 − cos φ. The function is the hand of a
// dial; steps are tangents, so that each ends farther out.
(function (IGR) {
  "use strict";

  const RATES = [["small", 1 / 9], ["middle", 1 / 3], ["large", 1]]; // of h
  const H = { min: 0.1, max: 0.9, step: 0.01 };
  const START = [-0.6, 0.8]; // as in the figure of the chapter
  const FIRST = 0.9;
  const LENGTHS = [0.5, 2];
  const EDGE = 5; // degrees that the start keeps from where the gradient is 0
  const ARRIVED = 1e-5; // of the loss
  const MOST = 8000; // steps
  const RIM = 2.3;
  const SECONDS = 6;

  const loss = (w) => 1 - w[0] / Math.hypot(...w);
  function gradient(w) {
    const r = Math.hypot(...w), cosine = w[0] / r;
    return [-(1 - (cosine * w[0]) / r) / r, (cosine * w[1]) / r / r];
  }
  const squared = (w) => gradient(w).reduce((sum, g) => sum + g * g, 0);

  // What the charts show of a point: E, ‖∇E‖² and |w|²‖∇E‖².
  const measured = (w) => [loss(w), squared(w), (w[0] ** 2 + w[1] ** 2) * squared(w)];

  // The steps of gradient descent until the hand points to the target, within a quarter of a degree.
  function descend(h, start) {
    const points = [start];
    while (points.length <= MOST && loss(IGR.last(points)) > ARRIVED) {
      const w = IGR.last(points), g = gradient(w);
      points.push(w.map((value, i) => value - h * g[i]));
    }
    return points;
  }

  // Where the steps first pass a level of the loss: on the line of a step, which is a tangent.
  function crossing(points, level) {
    const n = points.findIndex((w) => loss(w) < level);
    if (n < 1) return points[0];
    const from = points[n - 1], side = Math.sign(from[1]), wanted = Math.acos(1 - level);
    const turned = Math.atan2(from[1], from[0]) * side - wanted;
    const r = Math.hypot(...from) / Math.cos(turned);
    return [r * Math.cos(wanted), side * r * Math.sin(wanted)];
  }

  // The three runs, with where each passes half of the loss of the start.
  function compute({ start, h }) {
    const level = loss(start) / 2;
    const runs = RATES.map(([name, part]) => {
      const points = descend(part * h, start), at = crossing(points, level);
      return {
        name, h: part * h, points, at, squared: squared(at), free: (at[0] ** 2 + at[1] ** 2) * squared(at),
        seen: points.map(measured),
        length: Math.hypot(...IGR.last(points)),
      };
    });
    return { runs, level };
  }

  // Where a run is at the time t, between two steps too.
  function place(points, h, t) {
    const n = Math.floor(t / h + 1e-9);
    if (n + 1 >= points.length) return IGR.last(points);
    return points[n].map((value, i) => value + (t / h - n) * (points[n + 1][i] - value));
  }

  // The nearest start that is allowed.
  function allowed(w) {
    const r = Math.min(LENGTHS[1], Math.max(LENGTHS[0], Math.hypot(...w)));
    const edge = (EDGE * Math.PI) / 180, angle = Math.atan2(w[1], w[0]);
    const turned = (angle < 0 ? -1 : 1) * Math.min(Math.PI - edge, Math.max(edge, Math.abs(angle)));
    return [r * Math.cos(turned), r * Math.sin(turned)];
  }

  // What is shown, in words; `say` writes a number.
  function sentence({ start }, { runs, level }, say) {
    const list = (values) => `${values.slice(0, -1).map(say).join(", ")} and ${say(IGR.last(values))}`;
    // In their first step all runs are on one line, the tangent at the start.
    const least = runs[2].squared < runs[1].squared * (1 - 1e-9) ? "smallest for the largest step" : "the same where the first step passes it";
    return `From |w| = ${say(Math.hypot(...start))}, steps of h = ${list(runs.map((run) => run.h))} turn every hand to the same hour: one function. ` +
      `They end at |w| = ${list(runs.map((run) => run.length))}. At the loss E = ${say(level)} ‖∇E‖² is ${list(runs.map((run) => run.squared))}, ` +
      `${least}, and |w|²‖∇E‖² is ${say(runs[0].free)} for all three.`;
  }

  IGR.dial = { loss, gradient, descend, crossing, compute, place, allowed, sentence, start: START, first: FIRST };

  IGR.explorers ??= {};
  IGR.explorers.dial = function (root, { colors }) {
    const { stage } = IGR;
    // As in the chapter's figures.
    RATES.forEach(([name], i) => ["", "-dark"].forEach((page, k) => root.style.setProperty(`--${name}${page}`, colors[i][k])));
    const state = {};
    let found, touched = false;
    const degrees = (w) => Math.round((Math.atan2(w[1], w[0]) * 180) / Math.PI);
    const rate = stage.dial(stage.controls(root), "Learning rate h", H, (h) => set({ h }));
    const row = stage.row(root);
    const plane = stage.plot(row, "The plane of w, with rings of equal length and three runs", "", "", 1, true, 0);
    const column = stage.add(row, "div", { class: "igr-column" });
    const charts = ["The squared gradient against the loss", "The squared gradient times the squared length, against the loss"]
      .map((label) => stage.plot(column, label, "loss E", "", 0.5));
    const near = (start) => allowed(start).map((v) => +v.toPrecision(6));
    const handle = stage.handle(plane, "Start", (start) => set({ start: near(start) }), {
      text: (w) => `angle ${degrees(w)}°, length ${stage.number(Math.hypot(...w))}`,
      keys: turn,
    });
    const words = stage.words(root);
    const player = IGR.player(root, plane.svg, SECONDS, draw, reset);
    player.buttons([]);

    // The arrows turn the start, or make it longer or shorter; Home and End, as short or long as it can be.
    function turn(key, w, far) {
      const r = Math.hypot(...w), angle = (degrees(w) * Math.PI) / 180;
      const by = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [0, -1e3], End: [0, 1e3] }[key];
      if (!by) return undefined;
      const [to, long] = [angle + (by[0] * far * Math.PI) / 180, Math.max(0.01, r + 0.02 * far * by[1])];
      return [long * Math.cos(to), long * Math.sin(to)];
    }
    function set(change) {
      player.stop();
      touched ||= "start" in change;
      Object.assign(state, change);
      found = compute(state);
      rate.show(state.h);
      draw(1);
      words.say(sentence(state, found, stage.number));
    }
    function reset() {
      set({ start: START, h: FIRST });
      touched = false;
      draw(1);
    }

    function draw(s) {
      const { start } = state, { runs, level } = found;
      const until = Math.max(...runs.map((run) => run.h * run.points.length));
      // Where the hands move, and not where they have nearly arrived.
      const t = s < 1 ? 0.6 * until * s ** 2 : Infinity;
      const half = 2.5;
      plane.limits([-half, half], [-half, half]);
      plane.clear();
      const ring = (r) => IGR.range(97, (i) => [r * Math.cos((i * Math.PI) / 48), r * Math.sin((i * Math.PI) / 48)]);
      plane.behind(() => {
        for (const r of [0.5, 1, 1.5, 2]) plane.line("level", ring(r));
        for (const r of [1, 2]) plane.note([-0.71 * r, -0.71 * r], r === 1 ? "|w| = 1" : "|w| = 2", { dy: 14 });
        plane.line("rim", ring(RIM));
        plane.pieces("rim", IGR.range(12, (i) => [RIM - 0.1, RIM].map((r) => [r * Math.cos((i * Math.PI) / 6), r * Math.sin((i * Math.PI) / 6)])));
        plane.note([RIM, 0], "target", { anchor: "end", dx: -6, dy: -8 });
      });
      for (const { name, h, points } of runs) {
        const now = place(points, h, t), shown = points.slice(0, Math.floor(t / h + 1e-9) + 1);
        const r = Math.hypot(...now), tip = now.map((v) => (v / r) * (RIM - 0.02));
        plane.line(`tinted igr-hand igr-${name}`, [[0, 0], tip]);
        plane.line(`tinted igr-${name}`, [...shown, now]);
        if (h > 0.05) plane.dots(`tinted igr-${name}`, shown.slice(0, 200), 2.5);
        plane.dot(`tinted igr-${name}`, now, 4.5);
        plane.dot(`tinted igr-${name}`, tip, 4);
      }
      if (s === 1)
        runs.forEach(({ name, h, length }, i) =>
          plane.note([length, 0], `h = ${stage.number(h)}`, { kind: `tinted igr-${name}`, anchor: ["end", "middle", "start"][i], dy: (start[1] < 0 ? -1 : 1) * (20 + 15 * i) }));
      if (!touched) plane.note(start, "drag me", { anchor: "end", dx: -14, dy: -8 });
      handle.place(start);

      charts.forEach((chart, k) => {
        // Of every loss that the runs have; from left to right it falls, as in the chapter.
        const most = Math.max(...runs.flatMap((run) => run.seen.map(([E]) => E)));
        const highest = k ? 1 : Math.max(...runs.flatMap((run) => run.seen.map((values) => values[1])));
        chart.limits([Math.max(1.7, 1.05 * most), 0], [0, 1.3 * highest]);
        chart.clear();
        chart.line("guide", [[level, 0], [level, 1.1 * highest]]);
        if (k) chart.line("level", IGR.range(81, (i) => [i / 40, 1 - (1 - i / 40) ** 2]));
        for (const { name, h, points, seen, at } of runs) {
          const shown = seen.slice(0, Math.floor(t / h + 1e-9) + 1).map((values) => [values[0], values[1 + k]]);
          // Along the steps, which between two points are not straight in this plane.
          const [path, parts] = [points.slice(0, shown.length), name === "large" ? 12 : points.length > 500 ? 1 : 4];
          const between = path.slice(1).flatMap((w, n) => IGR.range(parts, (i) => measured(path[n].map((v, j) => v + ((i + 1) / parts) * (w[j] - v)))));
          if (!k) chart.line(`tinted igr-thin igr-${name}`, [shown[0], ...between]);
          const every = Math.max(1, Math.floor(seen.length / 60)); // so that the dots are dots
          chart.dots(`tinted igr-${name}`, shown.filter((_, n) => n % every === 0), name === "large" ? 3.5 : 2.2);
          if (s === 1 && !k) chart.dot("open", [level, squared(at)], 4.5);
        }
        chart.note([0, 1.3 * highest], k ? "|w|²‖∇E‖²: one curve" : "‖∇E‖²: a large step has less", { anchor: "end", dx: -6, dy: 16 });
      });
    }
    for (const drawn of [plane, ...charts]) drawn.onresize.push(() => draw(1));
    reset();
    player.once();
    const take = ({ start = state.start, h = state.h }) => set({ start: near(start), h });
    IGR.address(root, { state: () => state, allowed: { start: [-LENGTHS[1], LENGTHS[1]], h: [H.min, H.max] }, take, play: player.play });
  };
})((globalThis.IGR ??= {}));
