// Chapter 2: one step of gradient descent beside the flows of E and of Ẽ = E + (h/4)|∇E|².
(function (IGR) {
  "use strict";

  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const DATA = [[1, 2], [1, -1]]; // two examples that a line separates
  const TARGET = 0.6; // of chapter 3
  const SPAN = 300; // the greatest h of the chart by the least
  const H = [1e-4, 10]; // that can be typed
  const ROUNDING = 1e-13;

  // Each loss with its gradient and the product of its Hessian with a vector (u, v).
  const losses = {
    bent: {
      label: "this chapter's, (1 − a)²/2 + 2(b − a²)²",
      x: [-1.2, 1.3], y: [-0.5, 2], start: [-0.6, 0.9], first: 0.1,
      value: ([a, b]) => (1 - a) ** 2 / 2 + 2 * (b - a * a) ** 2,
      gradient: ([a, b]) => [a - 1 - 8 * a * (b - a * a), 4 * (b - a * a)],
      product: ([a, b], [u, v]) => [(1 - 8 * b + 24 * a * a) * u - 8 * a * v, -8 * a * u + 4 * v],
    },
    bowl: {
      label: "a bowl, (a² + 4b²)/2",
      x: [-2, 2], y: [-2, 2], start: [1.5, 1.1], first: 0.2,
      value: ([a, b]) => (a * a + 4 * b * b) / 2,
      gradient: ([a, b]) => [a, 4 * b],
      product: (_, [u, v]) => [u, 4 * v],
    },
    valley: {
      label: `two parameters, (${TARGET} − ab)²/2`,
      x: [0, 3], y: [0, 3], start: [1.1, 2.4], first: 0.1,
      value: ([a, b]) => (TARGET - a * b) ** 2 / 2,
      gradient: ([a, b]) => [-b * (TARGET - a * b), -a * (TARGET - a * b)],
      product: ([a, b], [u, v]) => {
        const mixed = 2 * a * b - TARGET;
        return [b * b * u + mixed * v, mixed * u + a * a * v];
      },
    },
    logistic: {
      label: "two examples told apart: no minimum",
      x: [-2, 4], y: [-3, 3], start: [-1, 1.5], first: 1,
      value: (p) => DATA.reduce((s, z) => s + Math.log1p(Math.exp(-(p[0] * z[0] + p[1] * z[1]))), 0),
      gradient: (p) => sum((z) => -sigmoid(-(p[0] * z[0] + p[1] * z[1]))),
      product: (p, w) => sum((z) => {
        const s = sigmoid(p[0] * z[0] + p[1] * z[1]);
        return s * (1 - s) * (w[0] * z[0] + w[1] * z[1]);
      }),
    },
  };
  const sum = (weight) => DATA.reduce(([s, t], z) => [s + weight(z) * z[0], t + weight(z) * z[1]], [0, 0]);

  // The step of size h from `start`, both flows after the time h, and how far the step is from them.
  function step(loss, start, h) {
    const { gradient, product } = losses[loss];
    const slope = gradient(start);
    const end = start.map((value, i) => value - h * slope[i]);
    const times = [[], []], always = () => false;
    const flow = IGR.flow((p) => gradient(p).map((g) => -g), start, h, 1e-12, always, times[0]);
    const modified = IGR.flow((p) => {
      const g = gradient(p), Hg = product(p, g);
      return g.map((value, i) => -value - (h / 2) * Hg[i]);
    }, start, h, 1e-12, always, times[1]);
    const gap = [flow, modified].map((path) => IGR.distance(IGR.last(path), end));
    return { end, flow, modified, times, gap };
  }

  // λ_max of the Hessian.
  function sharpness(loss, p) {
    const [[a, b], [, d]] = [[1, 0], [0, 1]].map((v) => losses[loss].product(p, v));
    return (a + d) / 2 + Math.hypot((a - d) / 2, b);
  }

  // The greatest h of the slider, in two digits: somewhat beyond 2/λ_max, where that is not far off.
  function most(loss, p) {
    const lambda = sharpness(loss, p), high = loss === "logistic" ? 10 : 1;
    return +(1.0499 * (lambda > 0 ? Math.min(high, Math.max(0.05, 2.5 / lambda)) : high)).toPrecision(2);
  }

  // The gaps of `n` step sizes, and by what each shrinks where the step is halved.
  function gaps(loss, start, high = most(loss, start), n = 25) {
    return IGR.geometric(high / SPAN, high, n).map((h) => [h, ...step(loss, start, h).gap]);
  }
  function halving(loss, start, h, now = step(loss, start, h).gap) {
    const half = step(loss, start, h / 2).gap;
    return now.map((gap, i) => gap / half[i]);
  }

  // What is shown, in words; `say` writes a number.
  function sentence({ loss, start, h }, { gap }, say) {
    const from = `From (${start.map(say).join(", ")})`;
    if (Math.hypot(...losses[loss].gradient(start)) === 0) return `${from} nothing moves: the gradient is 0.`;
    if (!(gap[0] > ROUNDING)) return `${from} a step of h = ${say(h)} ends where both flows do, up to rounding.`;
    const first = `${from} a step of h = ${say(h)} ends ${say(gap[0])} from the flow of E and ${say(gap[1])} from the flow of Ẽ. `;
    const [two, three] = halving(loss, start, h, gap);
    const second = gap[1] > ROUNDING ? `, the second ${say(three)} times (order 3: near 8)` : "";
    return `${first}With half the step the first gap is ${say(two)} times smaller (order 2: near 4 for small h)${second}.`;
  }

  IGR.step = { losses, step, gaps, halving, sharpness, most, sentence };

  // As long as a sentence gets.
  const LONGEST = "From (−0.123, −0.123) a step of h = 0.00123 ends 1.2·10⁻¹⁰ from the flow of E and 1.2·10⁻¹⁰ from the flow of Ẽ. " +
    "With half the step the first gap is 4.123 times smaller (order 2: near 4 for small h), the second 8.123 times (order 3: near 8).";

  IGR.explorers ??= {};
  IGR.explorers.step = function (root) {
    const { stage, alive } = IGR;
    const state = { loss: "bent", start: [], h: 0 };
    let found, high;
    const controls = stage.controls(root);
    const names = Object.entries(losses).map(([name, { label }]) => [name, label]);
    const choice = stage.choice(controls, "Loss", names, state.loss, choose);
    const dials = stage.controls(root);
    dials.classList.add("igr-stick");
    const size = alive.scale(dials, "Learning rate h", (h) => set({ h }));
    const words = stage.words(root, LONGEST);
    const plots = stage.row(root);
    const plane = stage.plot(plots, "The plane of a and b with level lines of the loss", "a", "b", 1);
    const close = stage.plot(plots, "The tip of the step, enlarged, with the gaps to both flows", "the tip of the step, enlarged", "", 1, true);
    const chart = stage.plot(plots, "The two gaps against h, both axes logarithmic", "h", "gap", 0.45);
    chart.svg.parentNode.classList.add("igr-wide-plot");
    const handle = stage.handle(plane, "Starting point", (start) => set({ start: start.map((v) => +v.toPrecision(4)) }));
    const guide = alive.guide(root, plane, { reset: () => choose("bent"), frame: (s) => paint(s), rest: () => paint(), seconds: 2.5 });
    stage.legend(root, [["descent", "step of gradient descent"], ["flow", "flow of E, for a time h, and its gap"],
      ["modified", "flow of Ẽ, for a time h, and its gap"], ["guide", "slopes 2 and 3 exactly"]]);

    function choose(loss) {
      const { x, y, start, first, value } = losses[loss];
      choice.value = loss;
      plane.limits(x, y);
      const corner = Math.max(value([x[0], y[0]]), value([x[0], y[1]]), value([x[1], y[1]]), value([x[1], y[0]]));
      plane.background = IGR.contours(value, x, y, IGR.geometric(corner / 800, corner, 9));
      high = undefined;
      set({ loss, start, h: first });
    }

    // What a link asks for; a loss comes with its start and h.
    function take({ loss, ...rest }) {
      if (loss) choose(loss);
      set(rest);
    }

    function set(change) {
      guide.stop();
      Object.assign(state, change);
      const { loss, start, h } = state, lambda = sharpness(loss, start);
      // As far as the slider tells anything at this start.
      const wanted = Math.max(most(loss, start), +(1.05 * h).toPrecision(2));
      if (!high || h > high || wanted > 1.5 * high || wanted < high / 2) high = wanted;
      const same = found && found.of.loss === loss && found.of.high === high && found.of.start.every((v, i) => v === start[i]);
      found = { ...step(loss, start, h), table: same ? found.table : gaps(loss, start, high), of: { loss, start, high } };
      const by = 10 ** (Math.floor(Math.log10(high)) - 2);
      size.limits(+by.toPrecision(1), high, +by.toPrecision(1), { least: H[0], most: H[1] });
      size.show(h);
      const meant = { 1: "there a step lands on the minimum of the steepest parabola", 2: "the edge of stability at the start" };
      size.mark(lambda > 0 ? [1, 2].map((k) => ({ value: k / lambda, name: `${k}/λ`, meaning: `${meant[k]}, ${k}/λ` })) : []);
      paint();
      words.say(sentence(state, found, stage.number));
    }

    // All of it, or while it is played the step and both flows until the share `s` of the time h.
    function paint(s = 1) {
      const { start, h } = state, { end, flow, modified, times, gap } = found, moves = gap[0] > ROUNDING;
      const ends = [IGR.last(flow), IGR.last(modified)];
      const [middle, half] = IGR.around([end, ...ends]), reach = half * 1.5;
      close.limits(...middle.map((m) => [m - reach, m + reach]));
      for (const view of [plane, close]) view.clear();
      plane.behind(() => plane.pieces("level", plane.background), plane.background);
      const paths = { flow: alive.until(flow, times[0], s * h), modified: alive.until(modified, times[1], s * h), descent: [start, start.map((v, i) => v + s * (end[i] - v))] };
      for (const view of [plane, close])
        for (const [name, path] of Object.entries(paths)) {
          view.line(name, path);
          view.dot(name, IGR.last(path), view === close ? 4.5 : 3.5);
        }
      if (s === 1 && moves)
        ["flow", "modified"].forEach((name, i) => {
          if (gap[i] > ROUNDING) close.gap(name, end, ends[i], stage.number(gap[i]), reach * (i ? -1 : 1)).classList.add("igr-halo");
        });
      if (moves) frame(middle, reach);
      handle.place(start);
      guide.invite(start);
      draw();
    }

    // What is enlarged, joined to its picture beside or below.
    function frame(middle, reach) {
      const least = (4 * (plane.x[1] - plane.x[0])) / plane.width, r = Math.max(reach, least);
      const [[l, b], [right, t]] = [-r, r].map((by) => middle.map((m) => m + by));
      plane.line("frame", [[l, b], [right, b], [right, t], [l, t], [l, b]]);
      const below = isBelow;
      const corners = below ? [[l, b], [right, b]] : [[right, b], [right, t]];
      const to = below ? plane.x.map((x) => [x, plane.y[0]]) : plane.y.map((y) => [plane.x[1], y]);
      corners.forEach((corner, i) => plane.line("frame igr-joined", [corner, to[i]]));
    }

    function draw() {
      const { h } = state, { gap, table } = found, sizes = [high / SPAN, high];
      const finite = table.flatMap((row) => row.slice(1)).filter((value) => value > ROUNDING), ten = (v, round) => 10 ** round(Math.log10(v));
      chart.limits(sizes, [ten(Math.min(...finite, 1e-3), Math.floor), ten(Math.max(...finite, 1e-3), Math.ceil)], true);
      chart.clear();
      chart.line("guide", [[h, chart.y[0]], [h, chart.y[1]]]);
      ["flow", "modified"].forEach((name, i) => {
        if (!(gap[i] > ROUNDING)) return;
        // Dashed: the exact powers 2 and 3 of h, through the gap of this h.
        const power = (size) => gap[i] * (size / h) ** (2 + i), [low, far] = sizes;
        chart.line("guide", sizes.map((size) => [size, power(size)]));
        chart.line(name, table.map((row) => [row[0], row[i + 1]]).filter(([, g]) => g > ROUNDING));
        chart.dot(name, [h, gap[i]]);
        // Beside its line, on the left or, if h is there, on the right; above the one and below the other.
        const at = h > Math.sqrt(low * far) ? low ** 0.7 * far ** 0.3 : low ** 0.3 * far ** 0.7;
        chart.note([at, power(at)], `slope ${2 + i}`, { kind: `${name} igr-halo`, anchor: i ? "start" : "end", dx: i ? 8 : -8, dy: i ? 14 : -6 });
      });
    }

    // Where its picture stands is asked when a width has changed: at every frame it would cost a layout.
    let isBelow = false;
    const look = () => (isBelow = close.svg.getBoundingClientRect().top > plane.svg.getBoundingClientRect().top + 10);
    look();
    for (const drawn of [plane, close, chart]) drawn.onresize.push(() => (look(), paint()));
    choose(choice.value);
    IGR.address(root, { state: () => state, allowed: { loss: Object.keys(losses), start: [-4, 4], h: H }, take, play: guide.play });
  };
})((globalThis.IGR ??= {}));
