// The page beside the tree. Text of models and users gets in by `textContent` alone, so that it stays text.

const byId = (id) => document.getElementById(id);

/** A new element with properties and children; strings become text. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const child of children) made.append(child);
  return made;
}

/** Put these into an element, in place of what is there. They may be more than a call has arguments. */
function fill(parent, children) {
  parent.replaceChildren();
  for (const child of children) parent.append(child);
}

const LONGEST_CHAIN = 500; // boxes of the chain above the selected one that are listed
const MOST_HEATED = 5000; // nodes of a box whose tokens are shown one by one

/** Text with control characters made visible. */
const visible = (text) => text.replace(/[\0-\x08\x0b-\x1f]/g, (letter) => String.fromCharCode(0x2400 + letter.charCodeAt(0)));

const tips = new WeakMap();

/** The text of a node, each token with its uncertainty as colour. */
function heat(node, asWritten) {
  if (!node.token_texts.length) return asWritten ? [visible(node.text)] : typeset(node.text);
  const tokens = [];
  let first = 0;
  node.token_texts.forEach((text, last) => {
    // Tokens that end inside a character are shown with the one that ends it.
    if (!text && last < node.token_texts.length - 1) return;
    tokens.push({ text, first, last });
    first = last + 1;
  });
  return woven(node, tokens, asWritten ? [] : formulasIn(node.text));
}

/** The text of a chain of nodes. */
function heats(nodes, asWritten) {
  const heated = nodes.slice(0, MOST_HEATED).flatMap((node) => heat(node, asWritten));
  const rest = nodes.slice(MOST_HEATED).map((node) => visible(node.text)).join("");
  return rest ? [...heated, rest] : heated;
}

/** Spans of tokens, or of the parts of them that are outside of formulas, and of formulas, each with its tokens. */
function woven(node, tokens, places) {
  const spans = [];
  let at = 0;
  let inside = [];
  for (const token of tokens) {
    const end = at + token.text.length;
    while (places.length && places[0].start < end) {
      const [place] = places;
      if (at < place.start) spans.push(tokenSpan(node, token, token.text.slice(at - end, place.start - end)));
      inside.push(token);
      at = Math.min(end, place.end);
      if (place.end > end) break;
      spans.push(formulaSpan(node, inside, node.text.slice(place.start, place.end), place.markup));
      places.shift();
      inside = [];
    }
    if (at < end || !token.text) spans.push(tokenSpan(node, token, token.text.slice(at - end)));
    at = end;
  }
  return spans;
}

function tokenSpan(node, { first, last, text }, part) {
  const span = shaded(node, first, last, text, visible(part));
  // The rest of a token beside a formula in a line of its own is no line that the model began.
  span.classList.toggle("newline", part === text && /^\s*\n/.test(part));
  span.classList.toggle("silent", !text);
  return span;
}

const formulaSpan = (node, tokens, text, markup) => shaded(node, tokens[0].first, tokens.at(-1).last, text, mathematics(markup));

/** A span with the uncertainty of its least confident token, and a tip that tells all. */
function shaded(node, first, last, text, content) {
  const confidences = node.confidences.slice(first, last + 1).filter((confidence) => confidence !== null && confidence !== undefined);
  const span = element("span", { className: "token" }, content);
  span.classList.toggle("given", !confidences.length);
  const uncertainty = confidences.length ? confidences.map(uncertaintyOf).reduce((most, uncertainty) => Math.max(most, uncertainty)) : 0;
  span.style.setProperty("--share", uncertainty.toFixed(3));
  const ids = node.token_ids.slice(first, last + 1).join(" ");
  const rating = confidences.length ? `confidence ${confidences.map(shown).join(", ")}` : "given, not drawn";
  tips.set(span, `${text ? JSON.stringify(text) : "no text of its own"}\n${rating}\ntoken ${ids}`);
  return span;
}

/** A text with its formulas as mathematics. */
const typeset = (text) => replaced(text, ({ markup }) => mathematics(markup)).map((part) => (typeof part === "string" ? visible(part) : part));

function pairs(list) {
  return list.flatMap(([name, value, id]) => [element("dt", { textContent: name }), element("dd", { textContent: value, id: id ?? "" })]);
}

/** Show the selected box, with numbers as of the moment. */
function showBox(box, { visits, values }, { count, asWritten, unfolded }, select) {
  const { last } = box;
  const range = box.nodes.length > 1 ? `Nodes ${box.nodes[0].id} to ${last.id}` : `Node ${last.id}`;
  const marks = [last.id === bestLeaf ? "chosen" : box.best ? "on the chosen path" : "", births[last.id] > count ? "not there yet" : ""];
  byId("node-title").textContent = [last.parent === null ? "Root" : range, ...marks.filter(Boolean)].join(", ");
  const tokens = box.nodes.reduce((sum, node) => sum + node.tokens, 0);
  const answers = last.ending.map((index) => {
    const { answer } = rollouts[index];
    return `${plain(answer) || "(none)"} (rollout ${index + 1}${isCut(rollouts[index]) ? ", cut short" : ""})`;
  }).join(", ");
  fill(byId("facts"), pairs([
    ["visits", visits[last.id], "visits"],
    ["mean value", shown(values[last.id]), "value"],
    ...(last.kind ? [["kind", last.kind, "kind"]] : []),
    ["tokens", tokens, "tokens"],
    ["token confidence", shown(box.confidence), "confidence"],
    ...(answers ? [["answer", answers, "answer"]] : []),
  ]));
  fill(byId("text"), heats(box.nodes, asWritten));
  byId("text").hidden = !byId("text").textContent;
  const head = heads[last.id];
  byId("fold").hidden = !longChains.has(head);
  byId("fold").textContent = unfolded.has(head) ? "Show this chain as one box" : `Show its ${box.nodes.length} nodes one by one`;
  byId("as-written").setAttribute("aria-pressed", asWritten);
  byId("uncertainty-legend").hidden = !box.nodes.some((node) => node.token_texts.length);
  const chain = [];
  for (let above = box; above.parent; above = above.parent) {
    if (chain.length === LONGEST_CHAIN) {
      chain.push(element("li", { textContent: "…" }));
      break;
    }
    const { id, kind } = above.last;
    const facts = [`${id}:`, visits[id], "×", shown(values[id]), kind].filter((fact) => fact !== "").join(" ");
    const link = element("button", { type: "button", className: "node", textContent: facts });
    link.onclick = () => select(id);
    const text = element("div", { className: "text", dir: "auto" });
    fill(text, heats(above.nodes, asWritten));
    chain.push(element("li", { className: `${above.best ? "best" : ""} ${above === box ? "current" : ""}` }, link, text));
  }
  fill(byId("chain"), chain.reverse());
}

/** Show the answers with their shares of the vote as of the moment. */
function showAnswers(count, select) {
  fill(byId("answers"), vote(count).map((camp) => {
    const bar = element("i");
    bar.style.width = `${100 * camp.share}%`;
    const head = element("button", { type: "button", className: "answer", title: "Go to its best rollout" },
      element("bdi", { textContent: oneLine(plain(camp.answer)) || "(no answer)" }),
      element("span", { className: "bar" }, bar),
      element("span", { className: "share", textContent: `${Math.round(100 * camp.share)} %` }));
    head.onclick = () => select(rollouts[camp.best].leaf);
    const links = element("div", { className: "rollouts" });
    fill(links, camp.rollouts.map((index) => {
      const { value, finish_reason: reason, tokens, leaf } = rollouts[index];
      const cut = isCut(rollouts[index]);
      const link = element("button", { type: "button", textContent: `#${index + 1} ${shown(value)}` });
      link.className = `${cut ? "cut" : ""} ${index >= count ? "ahead" : ""}`;
      link.title = `Rollout ${index + 1}: value ${shown(value)}, ${tokens} tokens, ${cut ? "cut short" : "complete"} (${reason})`;
      link.onclick = () => select(leaf);
      return link;
    }));
    return element("li", { className: camp.chosen ? "chosen" : "" }, head, links);
  }));
}

/** What does not change: question, outcome, settings and cost. */
function showSearch() {
  document.title = `${oneLine(plain(result.answer)) || "no answer"} – marcot search`;
  byId("title").textContent = oneLine(plain(result.question));
  fill(byId("question"), typeset(result.question));
  byId("as-written").hidden = !Object.keys(formulas).length;
  byId("outcome").append("answer ", element("b", {}, element("bdi", { textContent: oneLine(plain(result.answer)) || "(none)" })),
    ` with ${Math.round(100 * result.confidence)} % of the votes, value ${shown(result.value)}`);
  const flat = (object) => Object.entries(object ?? {}).flatMap(([name, value]) => {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    return nested ? flat(value) : [[name.replaceAll("_", " "), readable(value)]];
  });
  fill(byId("settings"), pairs([["nodes", nodes.length], ["rollouts", rollouts.length], ...flat(result.stats), ...flat(result.settings)]));
}

function readable(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(5)));
  return (Array.isArray(value) ? value.join(" ") : String(value ?? "")) || "–";
}

/** Mark every occurrence of the searched text on the page; a browser without this feature shows the hits in the tree. */
function markText(query) {
  if (!CSS.highlights) return;
  CSS.highlights.delete("hits");
  if (!query) return;
  const ranges = [];
  for (const block of document.querySelectorAll("aside .text")) {
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    const parts = [];
    for (let length = 0; walker.nextNode(); length += walker.currentNode.length) parts.push({ text: walker.currentNode, start: length });
    const place = (offset) => {
      const part = parts.findLast(({ start }) => start <= offset);
      return [part.text, offset - part.start];
    };
    const whole = block.textContent.toLowerCase();
    for (let at = whole.indexOf(query); at >= 0; at = whole.indexOf(query, at + query.length)) {
      const range = new Range();
      range.setStart(...place(at));
      const [text, offset] = place(at + query.length - 1);
      range.setEnd(text, Math.min(offset + 1, text.length));
      ranges.push(range);
    }
  }
  const hits = new Highlight();
  for (const range of ranges) hits.add(range);
  CSS.highlights.set("hits", hits);
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
