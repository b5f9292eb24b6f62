// The scales of the colours that are in use.

const format = (number) => (Number.isInteger(number) ? String(number) : String(number).slice(1));

/** The scale of the boxes, with numbers at their places. */
function showScale(colourBy) {
  const { share, ticks } = scales[colourBy];
  const ramp = element("span", { className: "ramp" });
  ramp.style.background = `linear-gradient(90deg, ${scale.stops.join(", ")})`;
  const marks = ticks.map((tick) => {
    const mark = element("span", { className: "tick", textContent: format(tick) });
    mark.style.left = `${100 * share(tick)}%`;
    return mark;
  });
  byId("scale").replaceChildren(ramp, ...marks);
}

function showTokenScale() {
  const ramp = element("span", { className: "ramp" });
  ramp.style.background = "linear-gradient(90deg, transparent, color-mix(in srgb, var(--uncertainty) 85%, transparent))";
  byId("uncertainty-legend").replaceChildren("token confidence 1", ramp, "0");
}
