// The canvas: which part of the plane it shows, and how boxes look on it.

const canvas = document.getElementById("tree");
const pen = canvas.getContext("2d");
const READABLE = 0.42; // below this zoom, text is a smudge

/** Screen = place * zoom + offset. Zoomed far out, a tree that is mostly tall keeps the width of the window. */
const view = { zoom: 1, x: 0, y: 0 };

function zoomX(layout) {
  return Math.max(view.zoom, Math.min((canvas.clientWidth - 40) / layout.width, 0.9));
}

/** Show the whole tree, or on a canvas that is too small for it the root, with the nearest of its children if there is room. */
function begin(layout) {
  fit(layout);
  if (view.zoom >= READABLE || (layout.boxes.length >= 100 && canvas.clientWidth >= 600 && zoomX(layout) >= 0.05)) return;
  const root = layout.boxes[0];
  const room = canvas.clientHeight - 40;
  let reach = root.children.reduce((least, child) => Math.min(least, Math.abs(child.y - root.y)), Infinity);
  if (!((reach + BOX.height) * 0.65 <= room)) reach = 0;
  view.zoom = Math.min(room / (reach + BOX.height), 0.85);
  const near = root.children.find((child) => Math.abs(child.y - root.y) === reach) ?? root;
  view.x = 16 - root.x * zoomX(layout);
  view.y = (canvas.clientHeight - BOX.height * view.zoom - (root.y + near.y) * view.zoom) / 2;
}

function fit(layout) {
  view.zoom = Math.min((canvas.clientHeight - 30) / layout.height, (canvas.clientWidth - 40) / layout.width, 1.1);
  view.x = (canvas.clientWidth - layout.width * zoomX(layout)) / 2;
  view.y = (canvas.clientHeight - layout.height * view.zoom) / 2;
}

/** Zoom, with the point of the plane that is at (x, y) of the canvas staying there. */
function zoomAt(layout, factor, x, y) {
  const planeX = (x - view.x) / zoomX(layout);
  const planeY = (y - view.y) / view.zoom;
  view.zoom = Math.min(Math.max(view.zoom * factor, 0.002), 3);
  view.x = x - planeX * zoomX(layout);
  view.y = y - planeY * view.zoom;
}

/** Move as little as it takes to see a box, or put it into the middle. */
function reveal(layout, box, middle) {
  const { left, top, width, height } = rectangle(layout, box);
  const excess = (start, size, room) => Math.min(start - 24, 0) || Math.max(start + size + 24 - room, 0);
  const centre = (start, size, room) => start + size / 2 - room / 2;
  const move = middle ? centre : excess;
  view.x -= move(left, width, canvas.clientWidth);
  view.y -= move(top, height, canvas.clientHeight);
}

function rectangle(layout, box) {
  const across = zoomX(layout);
  return { left: box.x * across + view.x, top: box.y * view.zoom + view.y, width: BOX.width * across, height: BOX.height * view.zoom };
}

/** The box at a place of the canvas, and whether that place is its fold mark. */
function boxAt(layout, x, y) {
  for (const box of layout.boxes) {
    const { left, top, width, height } = rectangle(layout, box);
    if (x >= left && x <= left + width && y >= top && y <= top + Math.max(height, 2)) {
      const mark = view.zoom >= READABLE && longChains.has(heads[box.nodes[0].id]) && box.nodes[0].id === heads[box.nodes[0].id];
      return { box, onMark: mark && x > left + width - 50 * view.zoom && y < top + 22 * view.zoom };
    }
  }
  return { box: null, onMark: false };
}

/**
 * Draw what is in sight of `scene`: layout, selected box, hits, the rollout of the moment, colours and numbers of boxes.
 * `ratio` is pixels of the canvas for each of the page.
 */
function draw(scene, ratio) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  for (const bold of [false, true]) {
    for (const box of scene.layout.boxes) if (box.parent && (box.best && box.parent.best) === bold) drawEdge(scene, box, bold, height);
  }
  for (const box of scene.layout.boxes) {
    const place = rectangle(scene.layout, box);
    if (place.top + place.height >= 0 && place.top <= height && place.left + place.width >= 0 && place.left <= width) {
      drawBox(scene, box, place);
    }
  }
}

function drawEdge({ layout, theme, exists }, box, bold, height) {
  const from = rectangle(layout, box.parent);
  const to = rectangle(layout, box);
  const [x1, y1, x2, y2] = [from.left + from.width, from.top + from.height / 2, to.left, to.top + to.height / 2];
  if (Math.max(y1, y2) < 0 || Math.min(y1, y2) > height) return;
  pen.globalAlpha = exists(box) ? 1 : 0.15;
  pen.strokeStyle = bold ? theme.best : theme.edge;
  pen.lineWidth = bold ? 3 : Math.max(1.5 * Math.min(view.zoom, 1), 0.4);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.bezierCurveTo((x1 + x2) / 2, y1, (x1 + x2) / 2, y2, x2, y2);
  pen.stroke();
  pen.globalAlpha = 1;
}

function drawBox(scene, box, { left, top, width, height }) {
  const { theme } = scene;
  const look = scene.look(box);
  // Zoomed far out, the chosen path is a line through the colours.
  const line = box.best && view.zoom <= 0.1;
  const tall = Math.max(height, line ? 3 : 1);
  const outline = (colour, line, grow, dash = []) => {
    pen.strokeStyle = colour;
    pen.lineWidth = line;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.roundRect(left - grow, top - grow, width + 2 * grow, tall + 2 * grow, 7 * view.zoom + grow);
    pen.stroke();
    pen.setLineDash([]);
  };
  pen.globalAlpha = scene.exists(box) ? 1 : 0.15;
  pen.fillStyle = line ? theme.best : look.fill;
  pen.beginPath();
  pen.roundRect(left, top, width, tall, 7 * view.zoom);
  pen.fill();
  if (box.best && !line) outline(theme.best, 3, 0);
  if (box.cut && view.zoom >= 0.2) outline(theme.ink, 1.5, 0, [5, 4]);
  if (scene.latest.has(box)) outline(theme.ink, 1.5, 4);
  if (scene.hits.has(box)) outline(theme.hit, 3, 3);
  if (box === scene.selected) outline(theme.ink, 3, Math.max(4 * view.zoom, 2));
  if (view.zoom >= READABLE) writeBox(scene, box, look, left, top, width);
  pen.globalAlpha = 1;
}

/** The words in a box: numbers and kind; the text in two lines, or in one above the answers. */
function writeBox({ kinds }, box, look, left, top, width) {
  const zoom = view.zoom;
  const room = width - 20 * zoom;
  const write = (text, weight, size, x, y) => {
    pen.font = `${weight} ${size * zoom}px system-ui, sans-serif`;
    pen.fillText(text, left + x * zoom, top + y * zoom);
  };
  pen.fillStyle = look.ink;
  pen.direction = "ltr";
  const chain = longChains.has(box.nodes[0].id) ? (box.nodes.length > 1 ? `⊞ ${box.nodes.length}` : "⊟") : "";
  write(`${box.last.id === bestLeaf ? "★ " : ""}${look.visits} × ${shown(look.value)}`, 600, 14, 10, 18);
  pen.textAlign = "right";
  const right = width / zoom - 10;
  write(chain, 600, 13, right, 18);
  if (kinds > 1) write(box.nodes[0].kind, 400, 12, right - (chain ? 42 : 0), 18);
  pen.textAlign = "left";
  // Wrapped anew only when the shape of the box changes, as measuring text is what costs time here.
  const shape = Math.round(room / zoom);
  if (box.lines?.shape !== shape) box.lines = { shape, text: wrap(box.line, box.answers.length ? 1 : 2, room) };
  box.lines.text.forEach((line, index) => write(isolated(line), 400, 13, 10, 36 + 16 * index));
  if (box.answers.length) write(fitting(`= ${isolated(box.answers.map(oneLine).join(", "))}`, room, 700, 13), 700, 13, 10, 53);
}

const oneLine = (text) => text.replace(/[\s\p{Cc}]+/gu, " ").trim();

/** Text that cannot turn the direction of what is around it. */
const isolated = (text) => `\u2068${text}\u2069`;

/** As much of a text as fits. */
function fitting(text, room, weight, size) {
  pen.font = `${weight} ${size * view.zoom}px system-ui, sans-serif`;
  if (pen.measureText(text).width <= room) return text;
  const letters = Array.from(text);
  let [low, high] = [0, letters.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pen.measureText(`${letters.slice(0, middle).join("")}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return `${letters.slice(0, low).join("")}…`;
}

function wrap(text, lines, room) {
  let rest = oneLine(text.slice(0, 400));
  const wrapped = [];
  while (rest && wrapped.length < lines) {
    let line = fitting(rest, room, 400, 13);
    if (line !== rest && wrapped.length < lines - 1) {
      line = line.slice(0, -1);
      const space = line.lastIndexOf(" ");
      if (space > line.length / 2 && rest[line.length] !== " ") line = line.slice(0, space);
    }
    wrapped.push(line);
    rest = rest.slice(line.length).trim();
  }
  return wrapped;
}
