"use strict";
// Curves of one sample: a panel for each metric, a line for each run, told apart by colour and by dashes.
window.captumCurves = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 320, HEIGHT = 190, LEFT = 52, RIGHT = 8, TOP = 8, BELOW = 24;
  const KINDS = 4;

  function draw(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const words = (value) => (value === null ? "not known" : Number(value.toPrecision(3)).toString());

  // The score at a share of the pixels, between the points on both sides; null beyond the ends.
  function at(curve, share) {
    for (let k = 0; k + 1 < curve.shares.length; k += 1) {
      const [x0, x1, y0, y1] = [curve.shares[k], curve.shares[k + 1], curve.scores[k], curve.scores[k + 1]];
      if (x0 <= share && share <= x1 && y0 !== null && y1 !== null) return y0 + ((y1 - y0) * (share - x0)) / (x1 - x0 || 1);
    }
    return null;
  }

  function panel(metric, curves, labels, share) {
    const held = curves.map((one, run) => ({run, curve: one[metric]})).filter((one) => one.curve);
    const scores = held.flatMap((one) => one.curve.scores.filter((value) => typeof value === "number"));
    if (!scores.length) return null;
    const low = Math.min(...scores), high = Math.max(...scores), span = high - low || 1;
    const x = (value) => LEFT + value * (WIDTH - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (value - low) / span) * (HEIGHT - TOP - BELOW);
    const said = held.map(({run, curve}) => `${labels[run]} from ${words(curve.scores[0])} to ${words(curve.scores.at(-1))}`);
    const svg = draw("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${metric}: ${said.join(", ")}`});
    for (const value of [0, 0.5, 1]) {
      svg.append(draw("line", {class: "axis", x1: x(value), x2: x(value), y1: TOP, y2: HEIGHT - BELOW}));
      svg.append(draw("text", {class: "tick", x: x(value), y: HEIGHT - 8, "text-anchor": value === 1 ? "end" : "middle"}, `${100 * value} %`));
    }
    for (const value of [low, high]) {
      svg.append(draw("line", {class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value)}));
      svg.append(draw("text", {class: "tick", x: LEFT - 4, y: y(value) + 4, "text-anchor": "end"}, words(value)));
    }
    if (share < 1) svg.append(draw("line", {class: "kept", x1: x(share), x2: x(share), y1: TOP, y2: HEIGHT - BELOW}));
    for (const {run, curve} of held) {
      const points = curve.shares.map((value, k) => [value, curve.scores[k]]).filter((one) => typeof one[1] === "number");
      const line = points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
      svg.append(draw("polyline", {class: `curve curve-${run % KINDS}`, points: line}));
    }
    return {svg, held};
  }

  function key(run) {
    const svg = draw("svg", {class: "key", viewBox: "0 0 36 10", "aria-hidden": "true"});
    svg.append(draw("line", {class: `curve curve-${run % KINDS}`, x1: 0, x2: 36, y1: 5, y2: 5}));
    return svg;
  }

  // curves: of each run, metric -> {shares, scores}. share: of the pixels that is kept, 1 for all.
  function figures(curves, labels, share) {
    const metrics = [...new Set(curves.flatMap((one) => Object.keys(one)))];
    return metrics.map((metric) => {
      const drawn = panel(metric, curves, labels, share);
      if (!drawn) return null;
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.append(`${metric}: score over the share of the pixels`);
      const list = document.createElement("ul");
      for (const {run, curve} of drawn.held) {
        const name = document.createElement("bdi");
        name.textContent = labels[run];
        const line = document.createElement("li");
        line.append(key(run), " ", name);
        if (share < 1) line.append(`: ${words(at(curve, share))} at ${Math.round(100 * share)} %`);
        list.append(line);
      }
      figure.append(drawn.svg, caption, list);
      return figure;
    }).filter((one) => one);
  }

  return {figures};
})();
