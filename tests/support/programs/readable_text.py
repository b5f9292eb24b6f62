"""Whether the text of a page has enough contrast."""

from __future__ import annotations

UNREADABLE = """
(() => {
  const known = new Map();
  const channels = (colour) => {
    if (!known.has(colour)) {
      const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      known.set(colour, [...pen.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const over = (top, below) => below.map((channel, index) => (top[index] * top[3] + channel * (255 - top[3])) / 255);
  const luminance = (colour) => colour.slice(0, 3).map((channel) => channel / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const chain = [];
    for (let at = element; at; at = at.parentElement) chain.unshift(at);
    const paper = (below, at) => over(channels(getComputedStyle(at).backgroundColor), below);
    const behind = chain.reduce(paper, [255, 255, 255, 255]);
    const text = over(channels(getComputedStyle(element).color), behind);
    const [low, high] = [luminance(text), luminance(behind)].sort((one, other) => one - other);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return found;
})()
"""
"""A browser script that returns all text on the page with a contrast below 4.5 to 1 (WCAG 2.2, AA)."""
