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
  ramp.style.background = "linear-gradient(90deg, transparent, color-mix(in srgb, var(--doubt) 85%, transparent))";
  byId("doubt-legend").replaceChildren("token confidence 1", ramp, "0");
}

// Tokens are many, so one listener serves them all.
document.addEventListener("pointerover", (event) => {
  const tip = tips.get(event.target);
  byId("tip").hidden = !tip;
  if (!tip) return;
  byId("tip").textContent = tip;
  const { left, bottom } = event.target.getBoundingClientRect();
  byId("tip").style.left = `${Math.min(left, innerWidth - byId("tip").offsetWidth - 8)}px`;
  byId("tip").style.top = `${Math.min(bottom + 6, innerHeight - byId("tip").offsetHeight - 8)}px`;
});

