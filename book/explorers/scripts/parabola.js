// Chapter 10: one step on a parabola of curvature s, the flows of E and Ẽ, hs from 0 to 2.5.
(function (IGR) {
  "use strict";

  const MOST = 2.5, FIRST = 0.6;
  const SHOWN = 12; // steps after the first, drawn fainter

  // By what one step, and the two flows in the time h, multiply θ.
  const factors = (hs) => ({ descent: 1 - hs, flow: Math.exp(-hs), modified: Math.exp(-hs * (1 + hs / 2)) });

  // How far the step lands from each flow, from θ = 1.
  function gaps(hs) {
    const { descent, flow, modified } = factors(hs);
    return { flow: Math.abs(flow - descent), modified: Math.abs(modified - descent) };
  }

  const iterates = (hs, n) => IGR.range(n + 1, (k) => (1 - hs) ** k);

  // What is shown, in words; `say` writes a number.
  function sentence(hs, say) {
    if (hs === 0) return "With hs = 0 nothing moves: the step and both flows multiply θ by 1.";
    const { descent, flow, modified } = factors(hs), gap = gaps(hs);
    const first = `With hs = ${say(hs)} one step multiplies θ by ${say(descent)}, gradient flow by ${say(flow)}, the modified flow by ${say(modified)}. ` +
      `The step lands ${say(gap.flow)} from gradient flow and ${say(gap.modified)} from the modified flow. `;
    if (hs < 1) return first + `For hs < 1 every step stays on its side, and a flow can follow it: the one with all corrections multiplies by 1 − hs exactly.`;
    if (hs === 1) return first + `At hs = 1 the step lands on the minimum. Here the steps and the flows part: no flow arrives in a finite time.`;
    if (hs < 2) return first + `For 1 < hs < 2 every step lands on the other side and nearer to the minimum: gradient descent converges. No flow on the line crosses 0.`;
    if (hs === 2) return first + `At hs = 2 the steps jump to and fro for ever, between θ and −θ. Beyond, each ends farther off than the last. Both flows converge all the same.`;
    return first + `For hs > 2 every step lands on the other side and ${say(-descent)} times as far off: gradient descent diverges. Both flows converge, the faster the larger hs.`;
  }

  IGR.parabola = { factors, gaps, iterates, sentence };

  IGR.explorers ??= {};
  IGR.explorers.parabola = function (root) {
    const { stage, alive } = IGR;
    const value = (theta) => [theta, (theta * theta) / 2]; // of a point of the parabola with s = 1
    const state = { hs: FIRST };
    const controls = stage.controls(root);
    controls.classList.add("igr-stick");
    const dial = alive.scale(controls, "hs", (hs) => set({ hs }));
    dial.limits(0, MOST, 0.01);
    dial.mark([[0, "nothing moves"], [1, "lands on the minimum"], [2, "to and fro for ever"]].map(([at, meaning]) => ({ value: at, name: `${at}`, meaning: `${meaning}, hs` })));
    const words = stage.words(root, sentence(1.234, () => "−0.1234"));
    const row = stage.row(root);
    const bowl = stage.plot(row, "The parabola, with the steps from θ = 1 and where both flows are after one", "θ", "E/s", 0.72);
    const chart = stage.plot(row, "By what a step and both flows multiply θ, against hs", "hs", "factor", 0.72);
    bowl.limits([-1.65, 1.65], [-0.42, 1.3]);
    chart.limits([0, MOST], [-1.6, 1.4]);
    const NAMES = { descent: "step of gradient descent, 1 − hs", flow: "gradient flow of E, exp(−hs)", modified: "modified flow, of Ẽ, exp(−hs − (hs)²/2)" };
    const handle = stage.handle(chart, "hs, in the chart", ([hs]) => set({ hs: Math.round(100 * hs) / 100 }), { step: 0.01, text: ([u]) => `hs = ${stage.number(u)}` });
    const guide = alive.guide(root, chart, { reset: () => set({ hs: FIRST }), frame: (s) => paint((SHOWN + 1) * s ** 1.5), rest: () => paint(), seconds: 4 });
    stage.legend(root, [...Object.entries(NAMES), ["shaded", "gradient descent diverges, hs > 2"]]);
    const between = (from, to) => IGR.range(41, (i) => value(from + ((to - from) * i) / 40));
    const grid = IGR.range(126, (i) => i / 50);

    function set({ hs }) {
      guide.stop();
      state.hs = Math.round(1000 * Math.min(MOST, Math.max(0, hs))) / 1000;
      dial.show(state.hs);
      paint();
      words.say(sentence(state.hs, stage.number));
    }

    // All of it, or while it is played what there is until the time t, counted in steps.
    function paint(t = Infinity) {
      const { hs } = state, at = factors(hs), gap = gaps(hs), names = Object.keys(NAMES);
      const steps = iterates(hs, SHOWN + 1), n = Math.min(SHOWN, Math.floor(t)), share = Math.min(1, t);
      bowl.clear();
      bowl.line("parabola", between(-1.65, 1.65));
      bowl.line("guide", [[-1.65, 0], [1.65, 0]]);
      bowl.line("faint", steps.slice(1, n + 1).map(value));
      steps.slice(2, n + 1).forEach((theta) => bowl.dot("later", value(theta), 2.5));
      const now = { descent: 1 + share * (at.descent - 1), flow: at.flow ** share, modified: at.modified ** share };
      bowl.line("modified", between(1, now.modified));
      bowl.line("flow", between(1, now.flow));
      bowl.line("descent", [value(1), value(at.descent)].map((p, i, [from]) => (i ? from.map((v, k) => v + share * (p[k] - v)) : p)));
      if (t === Infinity) {
        ["flow", "modified"].forEach((name, i) => {
          const height = -0.13 - 0.16 * i;
          bowl.line("guide", [value(at[name]), [at[name], height]]);
          bowl.bracket(name, [at.descent, at[name]], height, stage.number(gap[name]));
        });
        bowl.line("guide", [value(at.descent), [at.descent, -0.29]]);
      }
      bowl.dot("start", value(1), 4);
      names.forEach((name) => (name !== "descent" || share === 1) && bowl.dot(name, value(now[name])));
      if (t < Infinity && t >= 1) {
        // A leap from one step to the next.
        const [from, to] = [steps[n], steps[n + 1]].map(value);
        bowl.dot("descent", from.map((v, k) => v + (t - n) * (to[k] - v)), 5);
      }

      chart.clear();
      chart.area([[[2, -1.6], [2, 1.4], [MOST, 1.4], [MOST, -1.6]]]);
      for (const level of [-1, 0]) chart.line("guide", [[0, level], [MOST, level]]);
      for (const edge of [1, 2]) chart.line("guide", [[edge, -1.6], [edge, 1.4]]);
      [[0.5, "same side"], [1.5, "other side"], [2.25, "farther"]].forEach(([u, text]) => chart.note([u, 1.22], text));
      names.forEach((name) => chart.line(name, grid.map((u) => [u, factors(u)[name]])));
      chart.line("level", [[hs, -1.6], [hs, 1.4]]);
      names.forEach((name) => chart.dot(name, [hs, at[name]]));
      handle.place([hs, -1.45]);
      guide.invite([hs, -1.45]);
    }
    for (const drawn of [bowl, chart]) drawn.onresize.push(() => paint());
    set(state);
    IGR.address(root, { state: () => state, allowed: { hs: [0, MOST] }, take: set, play: guide.play });
  };
})((globalThis.IGR ??= {}));
