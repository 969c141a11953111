// Chapter 5: two errors and two tangent features. The loss is the length of (ε₁, ε₂); what the
// regularizer charges is εᵀKε, the squared length of ε₁φ₁ + ε₂φ₂.
(function (IGR) {
  "use strict";

  const LOSS = 2; // of all errors that are shown
  const FEATURES = [[1, 1], [2, 1]]; // of Example 5.5
  const FIRST = 45; // degrees: the errors (1, 1)
  const LONGEST = 2.4; // of a feature
  const SECONDS = 6;

  const dot = (p, q) => p[0] * q[0] + p[1] * q[1];
  const scaled = (s, p) => p.map((value) => s * value);
  const errors = (angle) => {
    const turned = (angle * Math.PI) / 180;
    return [Math.cos(turned), Math.sin(turned)].map((value) => +(Math.sqrt(LOSS) * value).toFixed(12));
  };

  // The eigenvalues of a symmetric matrix, the larger first, and the angle of its eigenvector.
  function eigen([[a, b], [, d]]) {
    const half = Math.hypot((a - d) / 2, b), middle = (a + d) / 2;
    const angle = Math.atan2(2 * b, a - d) / 2;
    return { values: [middle + half, Math.max(0, middle - half)], angle: (angle * 180) / Math.PI };
  }

  function compute({ angle, features }) {
    const kernel = features.map((p) => features.map((q) => dot(p, q)));
    const e = errors(angle), parts = features.map((p, i) => scaled(e[i], p));
    const sum = parts[0].map((value, i) => value + parts[1][i]);
    const cross = 2 * e[0] * e[1] * kernel[0][1];
    const terms = [e[0] * e[0] * kernel[0][0], cross, e[1] * e[1] * kernel[1][1]];
    return { errors: e, kernel, parts, sum, terms, form: dot(sum, sum), eigen: eigen(kernel) };
  }

  // Points of the ellipse εᵀKε = form; where an eigenvalue is nearly 0 it is as long as `far`.
  function ellipse({ form, eigen: { values, angle } }, far = 50) {
    const [long, wide] = values.map((value) => Math.min(far, Math.sqrt(form / Math.max(value, 1e-12))));
    const [c, s] = [Math.cos, Math.sin].map((f) => f((angle * Math.PI) / 180));
    return IGR.range(721, (i) => {
      const [u, v] = [long * Math.cos((i * Math.PI) / 360), wide * Math.sin((i * Math.PI) / 360)];
      return [c * u - s * v, s * u + c * v];
    });
  }

  // What is shown, in words; `say` writes a number.
  function sentence(found, say) {
    const { errors: e, kernel, parts, sum, terms, form, eigen: { values } } = found;
    const point = (p) => `(${p.map(say).join(", ")})`;
    const sign = (value) => (value < 0 ? " − " : " + ") + say(Math.abs(value));
    const [a, b] = parts, size = Math.hypot(...a) * Math.hypot(...b), cosine = size ? dot(a, b) / size : 0;
    const how = cosine > 0.1 ? "add up" : cosine < -0.1 ? "cancel in part" : "are nearly at right angles";
    return `The errors are ε = ${point(e)}, the loss is E = ${say(LOSS)}. The contributions ${how}: ε₁φ₁ + ε₂φ₂ = ${point(sum)}, ` +
      `and the regularizer charges εᵀKε = ${say(terms[0])}${sign(terms[1])}${sign(terms[2])} = ${say(form)}. ` +
      `For errors of this loss it can be from ${say(LOSS * values[1])} to ${say(LOSS * values[0])}; K₁₂ = ${say(kernel[0][1])}.`;
  }

  IGR.ellipse = { errors, eigen, compute, ellipse, sentence, features: FEATURES, first: FIRST };

  IGR.explorers ??= {};
  IGR.explorers.ellipse = function (root) {
    const { stage } = IGR;
    root.querySelector(".igr-still")?.remove();
    const state = {};
    let touched = false;
    const row = stage.row(root);
    const plane = stage.plot(row, "The errors: circle of equal loss, ellipse of equal price", "", "", 1, true, 0);
    const space = stage.plot(row, "The tangent features, their contributions and the sum", "", "", 1, true, 0);
    const limit = 2.8, wide = 3.9;
    const say = stage.number, point = (p) => `(${p.map(say).join(", ")})`;
    const error = stage.handle(plane, "Errors", (p) => set({ angle: Math.round((Math.atan2(p[1], p[0]) * 180) / Math.PI) }), {
      text: (p) => `ε = ${point(p)}`,
      // Round the circle; Home and End: the dearest errors and the cheapest.
      keys: (key, p, far) => {
        const by = { ArrowLeft: 1, ArrowUp: 1, ArrowRight: -1, ArrowDown: -1 }[key];
        if (by) return errors(state.angle + far * by);
        const { angle } = compute(state).eigen;
        return { Home: errors(angle), End: errors(angle - 90) }[key];
      },
    });
    const round = (v) => Math.round(50 * v) / 50;
    const tips = [0, 1].map((i) =>
      stage.handle(space, `Tangent feature φ${"₁₂"[i]}`, (p) => {
        const r = Math.hypot(...p), kept = scaled(Math.min(1, LONGEST / (r || 1)), p).map(round);
        set({ features: state.features.map((old, k) => (k === i ? kept : old)) });
      }, {
        text: (p) => `φ${"₁₂"[i]} = ${point(p)}`,
        keys: (key, p, far) => {
          const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
          if (by) return p.map((value, k) => value + 0.02 * far * by[k]);
          return { Home: FEATURES[i], End: FEATURES[i].map((v) => -v) }[key];
        },
      }));
    const words = stage.words(root);
    const player = IGR.player(root, plane.svg, SECONDS, draw, reset);
    player.buttons([["ε = (1, 1)", () => set({ angle: 45 })], ["ε = (1, −1)", () => set({ angle: -45 })]]);

    function set(change) {
      player.stop();
      touched = true;
      Object.assign(state, change);
      draw(1);
      words.say(sentence(compute(state), say));
    }
    function reset() {
      set({ angle: FIRST, features: FEATURES });
      touched = false;
      draw(1);
    }

    // A line with a head, whose size does not depend on the scale.
    function arrow(plot, kind, from, to) {
      plot.line(kind, [from, to]);
      const [x, y] = [plot.X(to[0]), plot.Y(to[1])], [dx, dy] = [x - plot.X(from[0]), y - plot.Y(from[1])], far = Math.hypot(dx, dy);
      if (far < 4) return;
      const size = Math.min(9, far / 2), back = (side) => plot.inverse(x - (size * (dx + 0.45 * side * dy)) / far, y - (size * (dy - 0.45 * side * dx)) / far);
      plot.line(`${kind} igr-head`, [back(1), to, back(-1)]);
    }

    // While it plays the error goes once round the circle.
    function draw(s) {
      const { features } = state;
      const angle = state.angle - (s < 1 ? 360 * (3 * s * s - 2 * s ** 3) : 0);
      const found = compute({ angle, features }), { errors: e, parts, sum, form, eigen: { values, angle: axis } } = found;
      plane.limits([-limit, limit], [-limit, limit]);
      plane.clear();
      for (const end of [[limit, 0], [0, limit]]) plane.line("level", [end.map((v) => -v), end]);
      const way = (turned, r) => [r * Math.cos((turned * Math.PI) / 180), r * Math.sin((turned * Math.PI) / 180)];
      values.forEach((value, k) => {
        const turned = axis + 90 * k;
        plane.line("guide", [way(turned + 180, 4), way(turned, 4)]);
        const at = way(turned, 1.75), right = scaled(at[0] >= 0 ? 1 : -1, at);
        plane.note(right, `κ = ${say(value)}`, { anchor: "start", dx: 8, dy: right[1] > 0 ? 4 : -6 });
      });
      plane.line("circle", IGR.range(181, (i) => way(2 * i, Math.sqrt(LOSS))));
      for (const level of [1, 4, 9]) plane.line("modified igr-faint", ellipse({ ...found, form: level }));
      plane.line("modified", ellipse(found));
      plane.line("error", [[0, 0], e]);
      plane.note([limit, -limit], `equal price εᵀKε = ${say(form)}`, { kind: "modified", anchor: "end", dx: -6, dy: -8 });
      plane.note([0, -Math.sqrt(LOSS)], `equal loss E = ${say(LOSS)}`, { kind: "loss", dy: 17 });
      plane.note([limit, 0], "ε₁", { anchor: "end", dx: -4, dy: 15 });
      plane.note([0, limit], "ε₂", { anchor: "start", dx: 6, dy: 14 });
      if (!touched && s === 1) plane.note(e, "drag me", { anchor: "start", dx: 14, dy: 16 });
      error.place(e);

      space.limits([-wide, wide], [-wide, wide]);
      space.clear();
      for (const end of [[wide, 0], [0, wide]]) space.line("level", [end.map((v) => -v), end]);
      features.forEach((p, i) => {
        arrow(space, `feature${i + 1}`, [0, 0], p);
        const r = Math.hypot(...p) || 1;
        space.note(p, `φ${"₁₂"[i]}`, { kind: `feature${i + 1}`, dx: (18 * p[0]) / r + (i ? 6 : -10), dy: 4 - (18 * p[1]) / r + (i ? 8 : -4) });
      });
      arrow(space, "feature1 igr-part", [0, 0], parts[0]);
      arrow(space, "feature2 igr-part", parts[0], sum);
      arrow(space, "modified igr-sum", [0, 0], sum);
      const middle = (p, q) => p.map((value, i) => (value + q[i]) / 2), beside = { kind: "feature1", anchor: "start", dx: 6, dy: 14 };
      if (IGR.distance(parts[0], features[0]) > 0.5) space.note(middle([0, 0], parts[0]), "ε₁φ₁", beside);
      if (IGR.distance(parts[1], [0, 0]) > 0.5) space.note(middle(parts[0], sum), "ε₂φ₂", { ...beside, kind: "feature2", anchor: "end", dx: -4, dy: -6 });
      space.note([-wide, -wide], "the sum is charged: its length²", { kind: "modified", anchor: "start", dx: 6, dy: -8 });
      space.note(sum, say(form), { kind: "modified", anchor: sum[0] > 1 ? "end" : sum[0] < -1 ? "start" : "middle", dy: sum[1] < 0 ? 24 : -12 });
      features.forEach((p, i) => tips[i].place(p));
    }
    for (const drawn of [plane, space]) drawn.onresize.push(() => draw(1));
    reset();
    player.once();
    const take = ({ features, ...rest }) => set(features ? { ...rest, features: [features.slice(0, 2), features.slice(2)] } : rest);
    IGR.address(root, {
      state: () => ({ ...state, features: state.features.flat() }), allowed: { angle: [-360, 360], features: [-LONGEST, LONGEST] }, take, play: player.play,
    });
  };
})((globalThis.IGR ??= {}));
