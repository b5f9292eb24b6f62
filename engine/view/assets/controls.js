// What the reader does: every event changes `state`, and then all is shown anew from it.

const state = {
  count: rollouts.length, selected: bestLeaf, unfolded: new Set(), asWritten: false, query: "", hit: -1, colourBy: "value", playing: 0,
};
const kinds = new Set(nodes.slice(1).map((node) => node.kind)).size;
let layout = layOut(state.unfolded);
let theme = readTheme();
let numbers = replay(state.count);
let hits = [];
let frame = 0;

/** Draw the canvas before the next repaint, once for however many changes. */
function redraw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => drawNow(devicePixelRatio));
}

function drawNow(ratio) {
  const latest = new Set();
  if (state.count && state.count < rollouts.length) {
    for (const node of chainOf(nodes[rollouts[state.count - 1].leaf])) latest.add(layout.byNode[node.id]);
  }
  const exists = (box) => births[box.last.id] <= state.count;
  draw({ layout, theme, kinds, latest, exists, look, hits: new Set(hits), selected: layout.byNode[state.selected] }, ratio);
}

/** The numbers of a box at the moment, and the colours that they give it. */
function look(box) {
  const { id } = box.last;
  const [visits, value] = [numbers.visits[id], numbers.values[id]];
  const shade = { value, visits, confidence: box.confidence }[state.colourBy];
  const colours = shade === null ? { fill: theme.empty, ink: theme.ink } : colourAt(scales[state.colourBy].share(shade));
  return { visits, value, ...colours };
}

function select(id, { middle = false } = {}) {
  const head = heads[id];
  if (layout.byNode[id].last.id !== id) unfold(() => state.unfolded.add(head));
  state.selected = id;
  reveal(layout, layout.byNode[id], middle);
  showSelected();
  // Last, as some browsers refuse it after a hundred times in half a minute. A page inside another has no address.
  const hash = `#node=${id}`;
  if (location.protocol !== "about:" && location.hash !== hash) history.replaceState(null, "", hash);
}

function showSelected() {
  const box = layout.byNode[state.selected];
  showBox(box, numbers, state, (id) => select(id));
  canvas.setAttribute("aria-label", `Search tree. ${byId("node-title").textContent}: ${oneLine(box.text).slice(0, 120)}`);
  markText(state.query);
  redraw();
}

/** Change which chains are unfolded, while the selected box stays where it is on the screen. */
function unfold(change) {
  const before = rectangle(layout, layout.byNode[state.selected]);
  change();
  layout = layOut(state.unfolded);
  state.selected = layout.byNode[state.selected].last.id;
  const after = rectangle(layout, layout.byNode[state.selected]);
  view.x += before.left - after.left;
  view.y += before.top - after.top;
  findHits();
}

/** Look closer: at a box that is too small to read, else into its chain. */
function open(box) {
  if (view.zoom >= READABLE) return toggleChain(box);
  view.zoom = 0.9;
  reveal(layout, box, true);
  redraw();
}

function toggleChain(box) {
  const head = heads[box.nodes[0].id];
  if (!longChains.has(head)) return;
  unfold(() => state.unfolded.delete(head) || state.unfolded.add(head));
  showSelected();
}

function goTo(count) {
  state.count = Math.min(Math.max(count, 0), rollouts.length);
  numbers = replay(state.count);
  byId("rollout").value = state.count;
  const last = rollouts[state.count - 1];
  const found = last ? `: ${oneLine(plain(last.answer)) || "(no answer)"}, value ${shown(last.value)}${last.spent ? `, ${last.spent} tokens so far` : ""}` : "";
  byId("moment").textContent = `rollout ${state.count} of ${rollouts.length}${found}`;
  showAnswers(state.count, (id) => select(id));
  showSelected();
}

function play() {
  clearInterval(state.playing);
  const running = state.playing;
  state.playing = 0;
  if (!running) {
    if (state.count === rollouts.length) goTo(0);
    const step = () => {
      goTo(state.count + 1);
      if (state.count === rollouts.length) play();
    };
    state.playing = setInterval(step, Math.min(Math.max(12000 / rollouts.length, 60), 900));
  }
  byId("play").textContent = state.playing ? "❚❚" : "▶";
  byId("play").ariaLabel = state.playing ? "Pause" : "Play the search";
}

/** Show TeX as it was written, or as mathematics. */
function writeOut() {
  state.asWritten = !state.asWritten;
  showSelected();
}

function findHits() {
  const { query } = state;
  const matches = (box) => [box.text, box.line, ...box.answers].some((text) => text.toLowerCase().includes(query));
  hits = query ? layout.boxes.filter(matches).sort((one, other) => one.y - other.y || one.x - other.x) : [];
}

function nextHit(step) {
  if (!hits.length) return;
  state.hit = (state.hit + step + hits.length) % hits.length;
  select(hits[state.hit].last.id);
  byId("hits").textContent = `${state.hit + 1} of ${hits.length}`;
}

/** The box of the same column that is next above or below. */
function neighbour(box, direction) {
  const ahead = layout.boxes.filter((other) => other.x === box.x && (other.y - box.y) * direction > 0);
  return ahead.sort((one, other) => (one.y - other.y) * direction)[0];
}

const zoomBy = (factor) => zoomAt(layout, factor, canvas.clientWidth / 2, canvas.clientHeight / 2);

const keys = {
  ArrowLeft: (box) => box.parent && select(box.parent.last.id),
  ArrowRight: (box) => box.children.length && select((box.children.find((child) => child.best) ?? box.children[0]).last.id),
  ArrowUp: (box) => neighbour(box, -1) && select(neighbour(box, -1).last.id),
  ArrowDown: (box) => neighbour(box, 1) && select(neighbour(box, 1).last.id),
  Home: () => select(0),
  End: () => select(bestLeaf),
  Enter: open,
  " ": open,
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  0: () => fit(layout),
  ",": () => goTo(state.count - 1),
  ".": () => goTo(state.count + 1),
  t: writeOut,
};

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key](layout.byNode[state.selected]);
  redraw();
});

byId("query").addEventListener("input", (event) => {
  state.query = event.target.value.toLowerCase();
  state.hit = -1;
  findHits();
  byId("hits").textContent = state.query ? `${hits.length} found` : "";
  markText(state.query);
  redraw();
});
byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") canvas.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select")) return;
  event.preventDefault();
  byId("query").focus();
});

byId("rollout").addEventListener("input", (event) => goTo(event.target.valueAsNumber));
byId("play").addEventListener("click", play);
byId("in").addEventListener("click", () => (zoomBy(1.25), redraw()));
byId("out").addEventListener("click", () => (zoomBy(0.8), redraw()));
byId("fit").addEventListener("click", () => (fit(layout), redraw()));
byId("unfold").addEventListener("click", () => {
  unfold(() => (state.unfolded = new Set(state.unfolded.size ? [] : longChains)));
  byId("unfold").textContent = state.unfolded.size ? "Fold all" : "Unfold all";
  showSelected();
});
byId("colour-by").addEventListener("change", (event) => {
  state.colourBy = event.target.value;
  showScale(state.colourBy);
  redraw();
});
byId("fold").addEventListener("click", () => toggleChain(layout.byNode[state.selected]));
byId("as-written").addEventListener("click", writeOut);
byId("more").addEventListener("click", () => {
  const open = document.body.classList.toggle("more");
  byId("more").setAttribute("aria-expanded", open);
});

const darkByDefault = matchMedia("(prefers-color-scheme: dark)");
function changeTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  theme = readTheme();
  redraw();
}
byId("theme").addEventListener("click", () => {
  const dark = (document.documentElement.dataset.theme ?? (darkByDefault.matches ? "dark" : "light")) === "dark";
  changeTheme(dark ? "light" : "dark");
});
darkByDefault.addEventListener("change", () => changeTheme());

function followHash() {
  const id = Number(/^#node=(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  if (id in nodes) select(id, { middle: true });
}
addEventListener("hashchange", followHash);
const PRINTED = 3; // pixels of a printed canvas for each on the screen
let themeOnScreen;
addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  changeTheme("light");
  fit(layout);
  drawNow(PRINTED);
});
addEventListener("afterprint", () => {
  if (themeOnScreen) changeTheme(themeOnScreen);
  else delete document.documentElement.dataset.theme;
  changeTheme();
});
new ResizeObserver(redraw).observe(canvas);

byId("rollout").max = rollouts.length;
byId("unfold").hidden = !longChains.size;
showSearch();
showScale(state.colourBy);
showTokenScale();
goTo(rollouts.length);
// Only now, as all that was written above takes its room from the canvas.
begin(layout);
followHash();
