// Mouse, pen and fingers on the canvas: one moves the tree or selects a box, two zoom.

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode ? 30 : 1);
  zoomAt(layout, Math.exp(-Math.min(Math.max(pixels, -200), 200) / 400), event.offsetX, event.offsetY);
  redraw();
}, { passive: false });

const down = new Map(); // places of the pointers that are down, by id
let moved = false;

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  moved = down.size > 0;
  down.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
});

canvas.addEventListener("pointermove", (event) => {
  const place = { x: event.offsetX, y: event.offsetY };
  const before = down.get(event.pointerId);
  if (!before) return hover(place);
  if (!moved && Math.hypot(place.x - before.x, place.y - before.y) < 4) return;
  moved = true;
  down.set(event.pointerId, place);
  const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
  // What is between two fingers moves half as far as one of them.
  const part = other ? 0.5 : 1;
  view.x += (place.x - before.x) * part;
  view.y += (place.y - before.y) * part;
  if (other) {
    const apart = ({ x, y }) => Math.max(Math.hypot(x - other.x, y - other.y), 1);
    zoomAt(layout, apart(place) / apart(before), (place.x + other.x) / 2, (place.y + other.y) / 2);
  }
  redraw();
});

canvas.addEventListener("pointerup", (event) => {
  const clicked = down.delete(event.pointerId) && !moved;
  if (!clicked) return;
  const { box, onMark } = boxAt(layout, event.offsetX, event.offsetY);
  if (box) select(box.last.id);
  if (onMark) toggleChain(box);
});

canvas.addEventListener("pointercancel", (event) => down.delete(event.pointerId));

canvas.addEventListener("dblclick", (event) => {
  const { box, onMark } = boxAt(layout, event.offsetX, event.offsetY);
  if (box && !onMark) open(box);
});

function hover({ x, y }) {
  const { box, onMark } = boxAt(layout, x, y);
  canvas.style.cursor = box ? "pointer" : "grab";
  canvas.title = onMark ? (box.nodes.length > 1 ? `Show the ${box.nodes.length} nodes of this chain` : "Show this chain as one box") : "";
}
