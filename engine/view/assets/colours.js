// What colours mean: the scale of nodes, the doubt of tokens, the theme.

const stops = scale.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));

/** The colour at a share of the scale, and that of text on it. */
function colourAt(share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const index = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[index].map((start, channel) => Math.round(start + (stops[index + 1][channel] - start) * (place - index)));
  return { fill: `rgb(${mixed.join(" ")})`, ink: share < 0.4 ? "#fff" : "#000" };
}

/** Lowest and highest of the numbers that there are. */
function rangeOf(numbers) {
  const known = numbers.filter((number) => number !== null);
  return known.length ? [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))] : [0, 1];
}

const shareOf = (number, [low, high]) => (high > low ? (number - low) / (high - low) : 1);

const ranges = {
  value: rangeOf(nodes.map((node) => node.value)),
  confidence: rangeOf(nodes.map((node) => node.confidence)),
  visits: [0, Math.max(nodes[0].visits, 1)],
};
const tokenRange = rangeOf(nodes.flatMap((node) => node.confidences));

/** The theme's colours as a canvas understands them. */
function readTheme() {
  const probe = document.body.appendChild(document.createElement("i"));
  const theme = {};
  for (const name of ["paper", "ink", "faint", "edge", "empty", "best", "hit"]) {
    probe.style.color = `var(--${name})`;
    theme[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return theme;
}
