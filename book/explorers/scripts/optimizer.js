// Chapter 11: the steps of an optimizer beside the flows of F_0 and of F_0 + h·F_1.
(function (IGR) {
  "use strict";

  const B2 = 0.9, EPSILON = 0.1; // of Adam; its b1 is β

  const value = ([a, b]) => (a * b - 1) ** 2 / 2;
  const gradient = ([a, b]) => [b * (a * b - 1), a * (a * b - 1)];
  const product = ([a, b], [u, v]) => {
    const mixed = 2 * a * b - 1;
    return [b * b * u + mixed * v, mixed * u + a * a * v];
  };
  const curvature = ([a, b]) => a * a + b * b; // of a minimum, ab = 1

  // Sums of past gradients: the sum of their weights, and 1 + 2·(their mean age in steps).
  const sums = {
    plain: () => ({ speed: 1, factor: 1, late: 0 }),
    heavy: (beta) => ({ speed: 1 / (1 - beta), factor: (1 + beta) / (1 - beta), late: beta / (1 - beta) ** 2 }),
    nesterov: (beta) => ({
      speed: 1 / (1 - beta), factor: 1 + (2 * beta * beta) / (1 - beta), late: (beta / (1 - beta)) ** 2,
    }),
  };
  const NAMES = { plain: "plain descent", heavy: "heavy ball", nesterov: "Nesterov’s momentum", adam: "Adam" };

  // F_0 and F_1 at a point, and the start's displacement δ.
  function corrections(kind, beta, p) {
    const g = gradient(p);
    if (kind === "adam") {
      const s = g.map((v) => Math.sqrt(v * v + EPSILON));
      const F0 = g.map((v, i) => -v / s[i]), turned = product(p, F0);
      const age = (b) => (1 + b) / (1 - b);
      const F1 = turned.map((v, i) => (v / (2 * s[i])) * (age(beta) - age(B2) * (g[i] / s[i]) ** 2));
      return { F0, F1, delta: [0, 0] };
    }
    const { speed, factor, late } = sums[kind](beta), Hg = product(p, g);
    return {
      F0: g.map((v) => -speed * v),
      F1: Hg.map((v) => (-speed * speed * factor * v) / 2),
      delta: g.map((v) => late * v),
    };
  }

  // The learning rate of which `effective` is the effective one.
  const learningRate = (kind, beta, effective) => (kind === "heavy" || kind === "nesterov" ? effective * (1 - beta) : effective);

  // One step from the point and the state {m, v, n}.
  function step(kind, beta, h, p, state) {
    const g = gradient(p), n = state.n + 1;
    if (kind === "adam") {
      const m = g.map((x, i) => beta * state.m[i] + (1 - beta) * x);
      const v = g.map((x, i) => B2 * state.v[i] + (1 - B2) * x * x);
      const next = p.map((x, i) => x - (h * m[i]) / (1 - beta ** n) / Math.sqrt(v[i] / (1 - B2 ** n) + EPSILON));
      return [next, { m, v, n }];
    }
    const kept = kind === "plain" ? 0 : beta;
    const m = g.map((x, i) => kept * state.m[i] + x);
    const used = kind === "nesterov" ? g.map((x, i) => x + beta * m[i]) : m;
    return [p.map((x, i) => x - h * used[i]), { m, v: state.v, n }];
  }

  // The steps until a time, in which the effective rate is a step; the two flows, and where they end. `displaced`: the corrected flow
  // starts from θ_0 + h·δ.
  function compute({ kind, beta, effective, until, start, displaced }) {
    const h = learningRate(kind, beta, effective), count = Math.max(1, Math.round(until / effective));
    const points = [start];
    let p = start, state = { m: [0, 0], v: [0, 0], n: 0 }, lost = false;
    while (state.n < count && !lost) {
      [p, state] = step(kind, beta, h, p, state);
      lost = !(Math.abs(p[0]) + Math.abs(p[1]) < 1e3);
      points.push(p);
    }
    const time = h * count;
    const { delta } = corrections(kind, beta, start);
    const begin = displaced ? start.map((v, i) => v + h * delta[i]) : start;
    const arrived = (q) => Math.abs(q[0] * q[1] - 1) <= 1e-11 * Math.hypot(...q);
    const field = (order) => (q) => {
      const { F0, F1 } = corrections(kind, beta, q);
      return F0.map((v, i) => v + order * h * F1[i]);
    };
    const paths = {
      descent: points,
      flow: IGR.flow(field(0), start, time, 1e-10, arrived),
      modified: IGR.flow(field(1), begin, time, 1e-10, arrived),
    };
    const ends = {};
    for (const [name, path] of Object.entries(paths)) {
      const end = IGR.last(path), gone = lost && name === "descent";
      ends[name] = {
        end, curvature: gone ? NaN : curvature(end), distance: lost ? NaN : IGR.distance(end, p),
      };
    }
    return { h, steps: state.n, lost, paths, ends };
  }

  function sentence({ kind, beta, effective, start, displaced }, { steps, lost, ends }, say) {
    const rate = say(effective);
    const rates = { plain: `h = ${rate}`, adam: `h = ${rate} and b₁ = ${say(beta)}` }[kind] ?? `h/(1 − β) = ${rate} and β = ${say(beta)}`;
    const from = `From (${start.map(say).join(", ")}) ${NAMES[kind]} with ${rates}`;
    if (lost) return `${from} diverges after ${steps} steps: no flow describes it.`;
    const { descent, flow, modified } = ends;
    if (!(flow.distance > 0)) return `${from} does not move: the gradient is 0 there.`;
    const nearer = modified.distance < flow.distance ? `nearer to the corrected flow from ${displaced ? "θ₀ + hδ" : "θ₀"}` : "nearer to the flow of F₀";
    return `${from} makes ${steps === 1 ? "one step" : `${steps} steps`} and ends ${nearer} (${say(modified.distance)} from the corrected flow, ` +
      `${say(flow.distance)} from the flow of F₀), with a² + b² = ${say(descent.curvature)} where the flow of F₀ has ${say(flow.curvature)}.`;
  }

  IGR.optimizer = { value, corrections, compute, sentence };

  IGR.explorers ??= {};
  IGR.explorers.optimizer = function (root) {
    const { stage } = IGR;
    const state = { kind: "heavy", beta: 0.9, effective: 0.004, until: 0.3, start: [2.2, 1.4], displaced: true };
    const controls = stage.controls(root);
    stage.choice(controls, "Optimizer", Object.entries(NAMES), state.kind, (kind) => draw({ kind }));
    const betas = [0.5, 0.8, 0.9, 0.95].map((b) => [b, String(b)]);
    const memory = stage.choice(controls, "Momentum β, of Adam b₁", betas, state.beta, (beta) => draw({ beta: +beta }));
    const rate = stage.slider(controls, "Effective rate h/(1 − β), for Adam h", (effective) => draw({ effective }));
    const times = [0.1, 0.3, 1, 5].map((t) => [t, stage.number(t)]);
    stage.choice(controls, "Time, steps times that", times, state.until, (until) => draw({ until: +until }));
    stage.choice(controls, "Corrected flow starts at", [["yes", "θ₀ + hδ"], ["no", "θ₀"]], "yes", (on) => draw({ displaced: on === "yes" }));
    rate.limits(5e-4, 0.1);
    const row = stage.row(root);
    const window = [0, 3.2];
    const plane = stage.plot(row, "Plane of a and b with the steps of an optimizer and two flows", "a", "b", 0.9);
    const close = stage.plot(row, "The steps and the two flows, enlarged", "enlarged", "", 0.9, true);
    const LEGEND = { descent: "steps", flow: "flow of F₀", modified: "flow of F₀ + hF₁" };
    stage.legend(root, Object.entries(LEGEND));
    const words = stage.words(root);
    const handle = stage.handle(plane, "Starting point", (start) => draw({ start }));
    plane.limits(window, window);
    const levels = IGR.contours(value, window, window, IGR.geometric(0.01, 40, 9));
    const minima = IGR.geometric(1 / 3.2, 3.2, 80).map((a) => [a, 1 / a]);

    function draw(change) {
      Object.assign(state, change);
      const found = compute(state), { paths } = found;
      plane.clear();
      plane.pieces("level", levels);
      plane.line("guide", minima);
      const [middle, half] = IGR.around(found.lost ? [state.start, [1, 1]] : Object.values(paths).flat());
      close.limits(...middle.map((m) => [m - half, m + half]));
      close.clear();
      close.line("guide", minima);
      for (const view of [plane, close]) {
        paths.descent.slice(0, 300).forEach((point) => view.dot("descent", point, 2));
        for (const name of ["flow", "modified"]) view.line(name, paths[name]);
        view.dot("modified", paths.modified[0], 3.5);
        for (const name of Object.keys(LEGEND)) view.dot(name, IGR.last(paths[name]), 4.5);
      }
      handle.place(state.start);
      rate.show(state.effective);
      memory.disabled = state.kind === "plain";
      words.say(sentence(state, found, stage.number));
    }

    for (const drawn of [plane, close]) drawn.onresize.push(() => draw({}));
    draw({});
  };
})((globalThis.IGR ??= {}));
