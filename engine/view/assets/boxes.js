// Boxes on a plane: one per node, or one for a whole chain of nodes that does not branch.

const BOX = { width: 240, height: 62, gapX: 44, gapY: 10 };

/** Whether a node only prolongs its parent: everything that went through the one went through the other. */
function prolongs(node) {
  const parent = nodes[node.parent];
  return parent !== undefined && parent.parent !== null && parent.children.length === 1
    && parent.visits === node.visits && parent.kind === node.kind;
}

/** First node of the chain that a node is on. */
const heads = [];
for (const node of nodes) heads.push(prolongs(node) ? heads[node.parent] : node.id);

/** The heads of all chains of two nodes or more. */
const longChains = new Set(nodes.filter((node) => heads[node.id] !== node.id).map((node) => heads[node.id]));

/**
 * Lay the tree out from left to right: a leaf has a row of its own, a parent is in the middle of its children.
 * `unfolded` holds the heads of the chains that are to be shown node by node.
 */
function layOut(unfolded) {
  const boxes = [];
  const byNode = [];
  for (const node of nodes) {
    const above = byNode[node.parent];
    if (heads[node.id] !== node.id && !unfolded.has(heads[node.id])) {
      above.nodes.push(node);
      byNode[node.id] = above;
      continue;
    }
    const box = { nodes: [node], parent: above ?? null, children: [], x: 0, y: 0, lines: null };
    box.x = above ? above.x + BOX.width + BOX.gapX : 0;
    above?.children.push(box);
    boxes.push(box);
    byNode[node.id] = box;
  }
  let row = 0;
  const waiting = [boxes[0]];
  while (waiting.length) {
    const box = waiting.pop();
    if (!box.children.length) box.y = row++ * (BOX.height + BOX.gapY);
    for (const child of box.children.toReversed()) waiting.push(child);
  }
  for (const box of boxes.toReversed()) {
    if (box.children.length) box.y = (box.children[0].y + box.children.at(-1).y) / 2;
    box.last = box.nodes.at(-1);
    const texts = box.nodes.map((node) => node.text);
    const isEmptyRoot = box.last.parent === null && !texts.join("").trim();
    box.text = isEmptyRoot ? result.question : texts.join("");
    box.line = isEmptyRoot ? plain(result.question) : texts.map(plain).join("");
    box.answers = [...new Set(box.last.ending.map((index) => plain(rollouts[index].answer) || "(none)"))];
    box.cut = box.last.ending.length > 0 && box.last.ending.every((index) => isCut(rollouts[index]));
    box.best = bestPath.has(box.last.id);
    const tokens = box.nodes.flatMap((node) => node.confidences.filter((confidence) => confidence !== null));
    box.confidence = tokens.length ? tokens.reduce((sum, confidence) => sum + confidence, 0) / tokens.length : null;
  }
  const width = boxes.reduce((most, box) => Math.max(most, box.x), 0) + BOX.width;
  return { boxes, byNode, width, height: Math.max(row, 1) * (BOX.height + BOX.gapY) - BOX.gapY };
}
