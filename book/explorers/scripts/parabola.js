// Chapter 10: one step on a parabola of curvature λ, the flows of E and Ẽ, hλ from 0 to 2.5.
(function (IGR) {
  "use strict";

  const MOST = 2.5;
  const SHOWN = 12; // steps after the first, drawn fainter

  // By what one step, and the two flows in the time h, multiply θ.
  const factors = (hλ) => ({ descent: 1 - hλ, flow: Math.exp(-hλ), modified: Math.exp(-hλ * (1 + hλ / 2)) });

  // How far the step lands from each flow, from θ = 1.
  function gaps(hλ) {
    const { descent, flow, modified } = factors(hλ);
    return { flow: Math.abs(flow - descent), modified: Math.abs(modified - descent) };
  }

  const iterates = (hλ, n) => IGR.range(n + 1, (k) => (1 - hλ) ** k);

  // What is shown, in words; `say` writes a number.
  function sentence(hλ, say) {
    if (hλ === 0) return "With hλ = 0 nothing moves: the step and both flows multiply θ by 1.";
    const { descent, flow, modified } = factors(hλ), gap = gaps(hλ);
    const first = `With hλ = ${say(hλ)} one step multiplies θ by ${say(descent)}, gradient flow by ${say(flow)}, the modified flow by ${say(modified)}. ` +
      `The step lands ${say(gap.flow)} from gradient flow and ${say(gap.modified)} from the modified flow. `;
    if (hλ < 1) return first + `For hλ < 1 every step stays on its side, and a flow can follow it: the one with all corrections multiplies by 1 − hλ exactly.`;
    if (hλ === 1) return first + `At hλ = 1 the step lands on the minimum. Here the steps and the flows part: no flow arrives in a finite time.`;
    if (hλ < 2) return first + `For 1 < hλ < 2 every step lands on the other side and nearer to the minimum: gradient descent converges. No flow on the line crosses 0.`;
    if (hλ === 2) return first + `At hλ = 2 the steps jump to and fro for ever, between θ and −θ. Beyond, each ends farther off than the last. Both flows converge all the same.`;
    return first + `For hλ > 2 every step lands on the other side and ${say(-descent)} times as far off: gradient descent diverges. Both flows converge, the faster the larger hλ.`;
  }

  IGR.parabola = { factors, gaps, iterates, sentence };

  IGR.explorers ??= {};
  IGR.explorers.parabola = function (root) {
    const { stage } = IGR;
    const value = (theta) => [theta, (theta * theta) / 2]; // of a point of the parabola with λ = 1
    let hλ = 0.6;
    const move = (wanted) => draw(Math.round(100 * Math.min(MOST, Math.max(0, wanted))) / 100);
    const dial = stage.dial(stage.controls(root), "hλ", { min: 0, max: MOST, step: 0.01 }, move);
    dial.mark([[0, "0"], [1, "1"], [2, "2"]]);
    const row = stage.row(root);
    const bowl = stage.plot(row, "The parabola, with the steps from θ = 1 and where both flows are after one", "θ", "E/λ", 0.72);
    const chart = stage.plot(row, "By what a step and both flows multiply θ, against hλ", "hλ", "factor", 0.72);
    bowl.limits([-1.65, 1.65], [-0.42, 1.3]);
    chart.limits([0, MOST], [-1.6, 1.4]);
    const NAMES = { descent: "step of gradient descent, 1 − hλ", flow: "gradient flow of E, exp(−hλ)", modified: "modified flow, of Ẽ, exp(−hλ − (hλ)²/2)" };
    stage.legend(root, [...Object.entries(NAMES), ["shaded", "gradient descent diverges, hλ > 2"]]);
    const words = stage.words(root);
    const handle = stage.handle(chart, "hλ, in the chart", ([wanted]) => move(wanted), { step: 0.01, text: ([u]) => `hλ = ${stage.number(u)}` });
    const between = (from, to) => IGR.range(41, (i) => value(from + ((to - from) * i) / 40));
    const grid = IGR.range(126, (i) => i / 50);

    function draw(wanted) {
      hλ = wanted;
      const at = factors(hλ), gap = gaps(hλ), names = Object.keys(NAMES);
      bowl.clear();
      bowl.line("parabola", between(-1.65, 1.65));
      bowl.line("guide", [[-1.65, 0], [1.65, 0]]);
      bowl.line("faint", iterates(hλ, SHOWN).map(value).slice(1));
      iterates(hλ, SHOWN).slice(2).forEach((theta) => bowl.dot("later", value(theta), 2.5));
      bowl.line("modified", between(1, at.modified));
      bowl.line("flow", between(1, at.flow));
      bowl.line("descent", [value(1), value(at.descent)]);
      ["flow", "modified"].forEach((name, i) => {
        const height = -0.13 - 0.16 * i;
        bowl.line("guide", [value(at[name]), [at[name], height]]);
        bowl.bracket(name, [at.descent, at[name]], height, stage.number(gap[name]));
      });
      bowl.line("guide", [value(at.descent), [at.descent, -0.29]]);
      bowl.dot("start", value(1), 4);
      names.forEach((name) => bowl.dot(name, value(at[name])));

      chart.clear();
      chart.area([[[2, -1.6], [2, 1.4], [MOST, 1.4], [MOST, -1.6]]]);
      for (const level of [-1, 0]) chart.line("guide", [[0, level], [MOST, level]]);
      for (const edge of [1, 2]) chart.line("guide", [[edge, -1.6], [edge, 1.4]]);
      [[0.5, "same side"], [1.5, "other side"], [2.25, "farther"]].forEach(([u, text]) => chart.note([u, 1.22], text));
      names.forEach((name) => chart.line(name, grid.map((u) => [u, factors(u)[name]])));
      chart.line("level", [[hλ, -1.6], [hλ, 1.4]]);
      names.forEach((name) => chart.dot(name, [hλ, at[name]]));
      handle.place([hλ, -1.45]);
      dial.show(hλ);
      words.say(sentence(hλ, stage.number));
    }
    for (const drawn of [bowl, chart]) drawn.onresize.push(() => draw(hλ));
    draw(hλ);
  };
})((globalThis.IGR ??= {}));
