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
    const times = { flow: [], modified: [] };
    const paths = {
      descent: points,
      flow: IGR.flow(field(0), start, time, 1e-10, arrived, times.flow),
      modified: IGR.flow(field(1), begin, time, 1e-10, arrived, times.modified),
    };
    const ends = {};
    for (const [name, path] of Object.entries(paths)) {
      const end = IGR.last(path), gone = lost && name === "descent";
      ends[name] = {
        end, curvature: gone ? NaN : curvature(end), distance: lost ? NaN : IGR.distance(end, p),
      };
    }
    return { h, steps: state.n, lost, paths, times, ends };
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

  // As long as a sentence gets.
  const LONGEST = "From (0.123, 0.123) Nesterov’s momentum with h/(1 − β) = 0.00123 and β = 0.95 makes 123 steps and ends nearer to the corrected flow from θ₀ + hδ " +
    "(0.00123 from the corrected flow, 0.00123 from the flow of F₀), with a² + b² = 0.123 where the flow of F₀ has 0.123.";

  IGR.explorers ??= {};
  IGR.explorers.optimizer = function (root) {
    const { stage, alive } = IGR;
    const FIRST = { kind: "heavy", beta: 0.9, effective: 0.004, until: 0.3, start: [2.2, 1.4], displaced: true };
    const BETAS = [0.5, 0.8, 0.9, 0.95], TIMES = [0.1, 0.3, 1, 5], RATES = [5e-4, 0.1];
    const state = {};
    let found;
    const controls = stage.controls(root);
    const menus = {
      kind: stage.choice(controls, "Optimizer", Object.entries(NAMES), FIRST.kind, (kind) => take({ kind })),
      beta: stage.choice(controls, "Momentum β, of Adam b₁", BETAS.map((b) => [b, String(b)]), FIRST.beta, (beta) => take({ beta })),
      until: stage.choice(controls, "Time, steps times the rate", TIMES.map((t) => [t, stage.number(t)]), FIRST.until, (until) => take({ until })),
      displaced: stage.choice(controls, "Corrected flow starts at", [["yes", "θ₀ + hδ"], ["no", "θ₀"]], "yes", (displaced) => take({ displaced })),
    };
    const dials = stage.controls(root);
    dials.classList.add("igr-stick");
    const rate = stage.slider(dials, "Effective rate h/(1 − β), for Adam h", (effective) => set({ effective: +effective.toPrecision(3) }));
    rate.input.parentNode.classList.add("igr-long");
    rate.limits(...RATES);
    const words = stage.words(root, LONGEST);
    const row = stage.row(root);
    const window = [0, 3.2];
    const plane = stage.plot(row, "Plane of a and b with the steps of an optimizer and two flows", "a", "b", 0.9);
    const close = stage.plot(row, "The steps and the two flows, enlarged", "enlarged", "", 0.9, true);
    const LEGEND = { descent: "steps", flow: "flow of F₀", modified: "flow of F₀ + hF₁" };
    const handle = stage.handle(plane, "Starting point", (start) => set({ start: start.map((v) => +v.toPrecision(4)) }));
    const guide = alive.guide(root, plane, { reset: () => set(FIRST), frame: (s) => paint(s), rest: () => paint(), seconds: 4 });
    stage.legend(root, Object.entries(LEGEND));
    plane.limits(window, window);
    const levels = IGR.contours(value, window, window, IGR.geometric(0.01, 40, 9));
    const minima = IGR.geometric(1 / 3.2, 3.2, 80).map((a) => [a, 1 / a]);

    // As menus, links and addresses say it.
    const told = () => ({ ...state, beta: String(state.beta), until: String(state.until), displaced: state.displaced ? "yes" : "no" });
    function take({ displaced = told().displaced, ...change }) {
      const { beta, until } = { ...state, ...change };
      set({ ...change, beta: +beta, until: +until, displaced: displaced === "yes" });
    }

    function set(change) {
      guide.stop();
      Object.assign(state, change);
      found = compute(state);
      const says = told();
      for (const [name, menu] of Object.entries(menus)) menu.value = says[name];
      menus.beta.disabled = state.kind === "plain";
      rate.show(state.effective);
      paint();
      words.say(sentence(state, found, stage.number));
    }

    // All of it, or while it is played a share of the time.
    function paint(s = 1) {
      const { paths, times, h, steps } = found;
      const shown = Object.fromEntries(["flow", "modified"].map((name) => [name, alive.until(paths[name], times[name], s < 1 ? s * h * steps : Infinity)]));
      const run = paths.descent.slice(0, Math.floor(s * steps) + 1);
      plane.clear();
      plane.behind(() => {
        plane.pieces("level", levels);
        plane.line("guide", minima);
      });
      const [middle, half] = IGR.around(found.lost ? [state.start, [1, 1]] : Object.values(paths).flat());
      close.limits(...middle.map((m) => [m - half, m + half]));
      close.clear();
      close.line("guide", minima);
      for (const view of [plane, close]) {
        view.dots("descent", run.slice(0, 300), 2);
        for (const name of ["flow", "modified"]) view.line(name, shown[name]);
        view.dot("modified", paths.modified[0], 3.5);
        for (const [name, path] of Object.entries({ descent: run, ...shown })) view.dot(name, IGR.last(path), 4.5);
      }
      if (found.lost && s === 1) alive.badge(plane, "the optimizer diverges");
      handle.place(state.start);
      guide.invite(state.start);
    }

    for (const drawn of [plane, close]) drawn.onresize.push(() => paint());
    set(FIRST);
    const allowed = { kind: Object.keys(NAMES), beta: BETAS.map(String), effective: RATES, until: TIMES.map(String), displaced: ["yes", "no"], start: window };
    IGR.address(root, { state: told, allowed, take, play: guide.play });
  };
})((globalThis.IGR ??= {}));
