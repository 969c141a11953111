// The numbers behind the explorers. Nothing here knows of a page; the tests run it in Node.
(function (IGR) {
  "use strict";

  // Dormand and Prince's method of order 5(4): nodes are not needed, the fields do not know time.
  const STAGES = [
    [1 / 5],
    [3 / 40, 9 / 40],
    [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
  ];
  const ERROR = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];

  // One coordinate of theta + h·(the slopes, weighted). A frame of an explorer has a hundred thousand
  // of these sums: loops, and no lists that are made for each.
  function along(value, i, weights, slopes, h) {
    let sum = 0;
    for (let j = 0; j < weights.length; j++) sum += weights[j] * slopes[j][i];
    return value + h * sum;
  }

  // The points of the flow of `field` in the plane from `start`, at every step the method takes to
  // time `end`, or until it has arrived: near a steep minimum it would go on in small steps. An
  // empty list of `times` is filled with those of the points.
  function flow(field, start, end, tolerance = 1e-12, arrived = () => false, times = []) {
    const points = [start], slopes = [];
    times.push(0);
    let theta = start, t = 0, slope = field(theta), h = Math.min(end, 1e-3 / Math.hypot(...slope));
    for (let tries = 0; t < end && tries < 20000 && !arrived(theta); tries++) {
      h = Math.min(h, end - t);
      slopes[0] = slope;
      let next = theta;
      for (let k = 0; k < STAGES.length; k++) {
        next = [along(theta[0], 0, STAGES[k], slopes, h), along(theta[1], 1, STAGES[k], slopes, h)];
        slopes[k + 1] = field(next);
      }
      const wrong = (i) => Math.abs(along(0, i, ERROR, slopes, h)) / (tolerance * (0.01 + Math.abs(next[i])));
      const size = Math.max(wrong(0), wrong(1));
      if (size <= 1) {
        t = end - t <= h ? end : t + h;
        theta = next;
        slope = slopes[6];
        points.push(theta);
        times.push(t);
      }
      h *= size > 0 ? Math.min(5, Math.max(0.2, 0.9 * size ** -0.2)) : 5;
      if (!(size < Infinity)) h = Math.min(h, end) * 0.1;
    }
    return points;
  }

  const last = (list) => list[list.length - 1];
  const distance = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]);
  const range = (n, f) => Array.from({ length: n }, (_, i) => f(i));
  const geometric = (low, high, n) => range(n, (i) => low * (high / low) ** (i / (n - 1)));

  // The middle of the box around points and half of its longer side, with some air.
  function around(points) {
    const [low, high] = [Math.min, Math.max].map((f) => [0, 1].map((i) => f(...points.map((p) => p[i]))));
    return [low.map((v, i) => (v + high[i]) / 2), 0.6 * Math.max(high[0] - low[0], high[1] - low[1], 1e-9)];
  }

  // Pieces [[x0, y0], [x1, y1]] of the lines f = level, by marching squares on n × n cells.
  function contours(f, [x0, x1], [y0, y1], levels, n = 56) {
    const x = (i) => x0 + ((x1 - x0) * i) / n, y = (j) => y0 + ((y1 - y0) * j) / n;
    const values = range(n + 1, (i) => range(n + 1, (j) => f([x(i), y(j)])));
    const pieces = [];
    for (const level of levels)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
          const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
          if (!corners.every(([k, l]) => Number.isFinite(values[k][l]))) continue;
          const cuts = [];
          corners.forEach(([k, l], c) => {
            const [m, o] = corners[(c + 1) % 4];
            const from = values[k][l] - level, to = values[m][o] - level;
            if (from > 0 === to > 0) return;
            const s = from / (from - to);
            cuts.push([x(k + s * (m - k)), y(l + s * (o - l))]);
          });
          for (let c = 0; c + 1 < cuts.length; c += 2) pieces.push([cuts[c], cuts[c + 1]]);
        }
    return pieces;
  }

  Object.assign(IGR, { flow, last, distance, range, geometric, around, contours });
})((globalThis.IGR ??= {}));
