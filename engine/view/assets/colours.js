// What colours mean: the scale of nodes, the uncertainty of tokens, the theme.

const stops = scale.stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));

/** The colour at a share of the scale, and that of text on it. */
function colourAt(share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const index = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[index].map((start, channel) => Math.round(start + (stops[index + 1][channel] - start) * (place - index)));
  return { fill: `rgb(${mixed.join(" ")})`, ink: share < scale.dark ? "#fff" : "#000" };
}

// Values and confidences are from 0 to 1, and have the same colours in every tree. Visits are counted from this one's root.
const UNIT = { share: (number) => Math.max(number, 0) ** scale.exponent, ticks: [0, 0.5, 0.7, 0.8, 0.9, 1] };
const most = Math.max(nodes[0].visits, 1);
const scales = {
  value: UNIT,
  confidence: UNIT,
  visits: { share: (number) => number / most, ticks: most > 3 ? [0, Math.round(most / 2), most] : [0, most] },
};

/** How much a token with this confidence is shaded. */
const uncertaintyOf = (confidence) => 1 - Math.min(Math.max(confidence, 0), 1);

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
