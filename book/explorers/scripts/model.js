// The model f(x; a, b) = abx of chapters 3 and 10, with E = (y − abx)²/2.
(function (IGR) {
  "use strict";

  const loss = ([a, b], x, y) => (y - a * b * x) ** 2 / 2;
  const length2 = ([a, b]) => a * a + b * b;
  const gradient = ([a, b], x, y) => {
    const pull = -x * (y - a * b * x);
    return [pull * b, pull * a];
  };
  // The gradient of E + rate·R_IG, R_IG = |∇E|²/2.
  const regularized = (rate, x, y) => (p) => {
    const g = gradient(p, x, y), stretch = 1 + rate * x * x * length2(p);
    const central = 2 * rate * x * x * loss(p, x, y);
    return p.map((value, i) => stretch * g[i] + central * value);
  };

  // The flow of E + rate·R_IG.
  const flow = (rate, start, x, y, end, times) => {
    const field = regularized(rate, x, y);
    // Of the curve of minima the distance is to first order |y − abx| / (x|θ|).
    const arrived = (p) => Math.abs(y - p[0] * p[1] * x) <= 1e-11 * x * Math.hypot(...p);
    return IGR.flow((p) => field(p).map((g) => -g), start, end, 1e-11, arrived, times);
  };

  // λ_max of the Hessian of E.
  const sharpness = ([a, b], x, y) => {
    const trace = x * x * length2([a, b]), mixed = x * (2 * x * a * b - y);
    return (trace + Math.hypot(x * x * (a * a - b * b), 2 * mixed)) / 2;
  };

  IGR.model = { loss, length2, gradient, regularized, flow, sharpness };
})((globalThis.IGR ??= {}));
