// The search as the page reads it, and the tree as it was after any number of rollouts.

const { result, answer_keys: answerKeys, scale, formulas, markups } = JSON.parse(document.getElementById("data").textContent);
const { rollouts, tree: { nodes } } = result;
const bestPath = new Set(result.best_path);
const bestLeaf = result.best_path.at(-1) ?? 0;

for (const node of nodes) {
  node.children = [];
  node.ending = [];
  const known = node.confidences.filter((confidence) => confidence !== null);
  node.confidence = known.length ? known.reduce((sum, confidence) => sum + confidence, 0) / known.length : null;
  if (node.parent !== null) nodes[node.parent].children.push(node);
}
rollouts.forEach((rollout, index) => nodes[rollout.leaf].ending.push(index));

/** Whether a rollout ended before the model did. */
const isCut = ({ finish_reason: reason }) => reason !== "eos" && reason !== "stop";

/** Nodes from the root to this one. */
function chainOf(node) {
  const chain = [node];
  while (chain.at(-1).parent !== null) chain.push(nodes[chain.at(-1).parent]);
  return chain.reverse();
}

/** After how many rollouts each node was there. */
const births = (() => {
  const births = nodes.map(() => Infinity);
  rollouts.forEach((rollout, index) => {
    for (const { id } of chainOf(nodes[rollout.leaf])) births[id] = Math.min(births[id], index + 1);
  });
  // Ids grow in the order of insertion, so a node on no rollout was there before the ones that came later.
  let later = rollouts.length;
  for (let id = nodes.length - 1; id >= 0; id--) {
    if (births[id] === Infinity) births[id] = later;
    else later = Math.min(later, births[id]);
  }
  births[0] = 0;
  return births;
})();

/** Visits and mean values by node id after the first `count` rollouts. */
function replay(count) {
  if (count === rollouts.length) return { visits: nodes.map((node) => node.visits), values: nodes.map((node) => node.value) };
  const visits = nodes.map(() => 0);
  const sums = nodes.map(() => 0);
  for (const rollout of rollouts.slice(0, count)) {
    for (let node = nodes[rollout.leaf]; node; node = nodes[node.parent]) {
      visits[node.id] += 1;
      sums[node.id] += rollout.value;
    }
  }
  // A node on no rollout may have been valued by itself, as a beam that was given up.
  const unvisited = ({ id }) => (nodes[id].visits || births[id] > count ? null : nodes[id].value);
  return { visits, values: nodes.map((node) => (visits[node.id] ? sums[node.id] / visits[node.id] : unvisited(node))) };
}

/** The answers of all rollouts, each with its share of the votes after the first `count`. */
function vote(count) {
  const camps = new Map();
  rollouts.forEach((rollout, index) => {
    const camp = camps.get(answerKeys[index]) ?? { answer: rollout.answer, rollouts: [], weight: 0, best: index, chosen: false };
    camps.set(answerKeys[index], camp);
    camp.rollouts.push(index);
    camp.chosen ||= rollout.answer === result.answer;
    if (rollout.value > rollouts[camp.best].value) camp.best = index;
  });
  const cast = rollouts.slice(0, count);
  // Rewards weigh votes as in `SearchResult.confidence`; where they may be negative, every vote counts one.
  const weigh = rollouts.every((rollout) => rollout.value >= 0) ? (rollout) => rollout.value : () => 1;
  const total = cast.reduce((sum, rollout) => sum + weigh(rollout), 0);
  cast.forEach((rollout, index) => (camps.get(answerKeys[index]).weight += weigh(rollout)));
  const list = [...camps.values()].map((camp) => ({ ...camp, share: total ? camp.weight / total : 0 }));
  return list.sort((one, other) => other.share - one.share || one.rollouts[0] - other.rollouts[0]);
}

/** A number as people read it. */
const shown = (number) => (number === null ? "–" : number.toFixed(3));
