// Typesets formulas, one a line: {tex, display} in, {svg, mathml, glyphs} or {error} out, as JSON.
// Given: the folder of MathJax, and the macros as JSON.
//
// MathJax writes an element for each node of a formula, four times as much as is drawn. Here the
// glyphs are moved to where they stand, and a long formula is cut into pieces after its relations,
// operators and wide blanks, between which a browser may break the line.
"use strict";

const [folder, macros] = process.argv.slice(2);
const REL = 3, BIN = 2, OPEN = 4, CLOSE = 5; // classes of TeX
const LONG = 14; // ex: a formula that is shorter stays in one piece
const WIDE = 32; // ex: a piece that is wider does not fit on a phone
const EX = 442; // units of MathJax
const BLANK = /-(?:20|A0|206[1-4])$/; // blanks, and signs that are not seen

function numbers(text) {
  return text.match(/-?[\d.]+/g).map(Number);
}

/** In whole units, of which an em has 1000. */
function round(value) {
  return String(Math.round(value) || 0);
}

/** How far a transform moves, and by what it scales; null where it does neither alone. */
function moved(transform) {
  let [x, y, scale] = [0, 0, 1];
  for (const [, name, values] of (transform || "").matchAll(/(\w+)\(([^)]*)\)/g)) {
    const [a, b = 0] = numbers(values);
    if (name === "translate") [x, y] = [x + scale * a, y + scale * b];
    else if (name === "scale" && b === 0) scale *= a;
    else return null;
  }
  return { x, y, scale };
}

class Drawing {
  constructor(adaptor) {
    this.adaptor = adaptor;
  }

  /** A node as markup at a place, without the groups that only move what is in them. */
  drawn(node, x = 0, y = 0) {
    const { adaptor } = this;
    const [kind, of] = [adaptor.kind(node), (name) => adaptor.getAttribute(node, name)];
    const inside = (x, y) => adaptor.childNodes(node).map((n) => this.drawn(n, x, y)).join("");
    const place = moved(of("transform"));
    if (kind === "g" && place && place.scale === 1) return inside(x + place.x, y + place.y);
    if (kind === "g" && place) {
      const at = `translate(${round(x + place.x)},${round(y + place.y)})scale(${place.scale})`;
      return `<g transform="${at}">${inside(0, 0)}</g>`;
    }
    if (kind === "use" && BLANK.test(of("xlink:href"))) return "";
    if (kind === "use" && place && place.scale === 1) {
      return `<use href="#${short(of("xlink:href").slice(1))}"${at(x + place.x, y + place.y)}/>`;
    }
    if (kind === "rect") {
      const [width, height] = [round(of("width")), round(of("height"))];
      return `<rect width="${width}" height="${height}"${at(x + +of("x"), y + +of("y"))}/>`;
    }
    const placed = x || y ? `<g transform="translate(${round(x)},${round(y)})">` : "";
    return `${placed}${this.whole(node)}${placed && "</g>"}`;
  }

  /** A node as MathJax wrote it. */
  whole(node) {
    const { adaptor } = this;
    if (adaptor.kind(node) === "#text") return escaped(adaptor.value(node));
    const kept = adaptor.allAttributes(node).filter(({ name }) => !name.startsWith("data-"));
    const attributes = kept.map(({ name, value }) =>
      name === "xlink:href" ? ` href="#${short(value.slice(1))}"` : ` ${name}="${value}"`);
    const inside = adaptor.childNodes(node).map((n) => this.whole(n)).join("");
    return `<${adaptor.kind(node)}${attributes.join("")}>${inside}</${adaptor.kind(node)}>`;
  }

}

function at(x, y) {
  const [left, up] = [round(x), round(y)];
  return (left === "0" ? "" : ` x="${left}"`) + (up === "0" ? "" : ` y="${up}"`);
}

function escaped(text) {
  return text.replace(/[<&>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function short(name) {
  return name.replace("MJX-TEX", "g");
}

/** Where a formula may be broken: after which of its nodes, and where that is. */
function breaks(root, nodes, adaptor) {
  const [row] = root.childNodes;
  if (row.childNodes.length !== nodes.length) return [];
  let depth = 0;
  return row.childNodes.flatMap((node, k) => {
    depth += node.texClass === OPEN ? 1 : node.texClass === CLOSE ? -1 : 0;
    const quad = node.isKind("mspace") && parseFloat(node.attributes.get("width")) >= 1;
    const may = (quad || [REL, BIN].includes(node.texClass)) && 0 < k && k + 1 < nodes.length;
    const next = may && moved(adaptor.getAttribute(nodes[k + 1], "transform"));
    return next ? [{ after: k, x: next.x, depth }] : [];
  });
}

/** Outside of brackets, and inside of them where a piece would be too wide for a phone. */
function chosen(cuts, left, right) {
  const outside = cuts.filter(({ depth }) => depth === 0);
  const ends = [left, ...outside.map(({ x }) => x), right];
  const wide = ({ x }) => ends.some((end, k) => k && ends[k - 1] < x && x < end &&
    end - ends[k - 1] > WIDE * EX);
  return cuts.filter((cut) => cut.depth === 0 || wide(cut));
}

/** For those who listen: what is said about the looks is left out. */
function compact(mathml) {
  return mathml
    .replace(/>\s+/g, ">")
    .replace(/ (?!mathvariant|display=|xmlns)[\w-]+="[^"]*"/g, "")
    .replace(/<mrow>(<(\w+)[^>]*>[^<]*<\/\2>)<\/mrow>/g, "$1")
    .replace(/<\/?mstyle>|<mspace><\/mspace>|<mspace\/>/g, "")
    .replace(/&#x([0-9A-F]+);/g, (all, code) =>
      "<&>".includes(String.fromCodePoint(parseInt(code, 16))) ? all
        : String.fromCodePoint(parseInt(code, 16)))
    .replace(/ xmlns="[^"]*"/, "");
}

const known = new Set();

/** The outlines of the glyphs that were not told before. */
function fresh({ startup: { document, adaptor } }) {
  const paths = adaptor.childNodes(document.outputJax.fontCache.getCache());
  const told = paths.map((path) => ["id", "d"].map((name) => adaptor.getAttribute(path, name)));
  const news = told.filter(([name]) => !known.has(name));
  news.forEach(([name]) => known.add(name));
  return Object.fromEntries(news.map(([name, path]) => [short(name), path]));
}

function typeset(MathJax, { tex, display }) {
  const { document, adaptor } = MathJax.startup;
  const item = new document.options.MathItem(tex, document.inputJax[0], display);
  item.setMetrics(16, 8, null, 1e6, 1);
  item.convert(document);
  const picture = adaptor.firstChild(item.typesetRoot);
  const of = (name) => adaptor.getAttribute(picture, name);
  if (!of("viewBox") || of("width").endsWith("%")) {
    return { error: "\\tag is not typeset: give the formula a label" };
  }
  const [left, top, width, height] = numbers(of("viewBox"));
  const [depth] = numbers(of("style"));
  const drawing = new Drawing(adaptor);
  const math = adaptor.firstChild(adaptor.firstChild(picture));
  const nodes = adaptor.childNodes(math);
  const found = width > LONG * EX ? breaks(item.root, nodes, adaptor) : [];
  const cuts = chosen(found, left, left + width);
  let [begin, x] = [0, left];
  const svg = [...cuts, { after: nodes.length - 1, x: left + width }].map((cut) => {
    const inside = nodes.slice(begin, cut.after + 1).map((n) => drawing.drawn(n)).join("");
    const size = `width="${+((cut.x - x) / EX).toFixed(3)}ex" height="${of("height")}"`;
    const box = [x, top, cut.x - x, height].map(round).join(" ");
    [begin, x] = [cut.after + 1, cut.x];
    return `<svg ${size} viewBox="${box}" style="vertical-align:${depth}ex" aria-hidden="true">` +
      `<g transform="scale(1,-1)">${inside}</g></svg>`;
  });
  return { svg, mathml: compact(MathJax.startup.toMML(item.root)), glyphs: fresh(MathJax) };
}

require(`${folder}/node-main.js`).init({
  loader: { load: ["input/tex-full", "output/svg"] },
  tex: {
    // They would typeset what is wrong, in red.
    packages: { "[-]": ["noundefined", "noerrors"] },
    macros: JSON.parse(macros),
    formatError: (_, error) => { throw error; },
  },
  svg: { fontCache: "global" },
}).then((MathJax) => {
  const lines = require("readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    let answer;
    try {
      answer = typeset(MathJax, JSON.parse(line));
    } catch (error) {
      answer = { error: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
});
