// The formulas in texts: their places, as mathematics, and as a line of text. TeX was converted when the page was made.

const MATHML = new DOMParser().parseFromString("<math></math>", "text/html").querySelector("math").namespaceURI;

/** The formulas of a whole text: `start` and `end` in it, and `markup`, which is [tag, attributes, children]. */
function formulasIn(text) {
  if (!Object.hasOwn(formulas, text)) return [];
  return formulas[text].map(([start, end, number]) => ({ start, end, markup: markups[number] }));
}

/** The element of a formula. */
function mathematics([tag, attributes, children]) {
  const made = document.createElementNS(MATHML, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const child of children) made.append(typeof child === "string" ? child : mathematics(child));
  return made;
}

/** A text with something else in the place of each formula, as a list. */
function replaced(text, replacement) {
  const parts = [];
  let at = 0;
  for (const formula of formulasIn(text)) {
    parts.push(text.slice(at, formula.start), replacement(formula));
    at = formula.end;
  }
  return [...parts, text.slice(at)];
}

/** A text whose formulas are text that people read. */
const plain = (text) => replaced(text, ({ markup }) => (markup[1].display === "block" ? ` ${line(markup)} ` : line(markup))).join("");

const SPACED = /^[=+\-−×÷·±≈≠≤≥<>→⇒]$/;
const RAISED = { 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹", "∘": "°", "°": "°" };

/** A formula in one line. */
function line(markup) {
  if (typeof markup === "string") return markup.replace(/\u00a0/g, " ");
  const [tag, { class: style }, children] = markup;
  const parts = children.map(line);
  switch (tag) {
    case "mfrac": return `${grouped(parts[0])}/${grouped(parts[1])}`;
    case "msqrt": return `√${grouped(parts.join(""))}`;
    case "mroot": return `${raised(parts[1])}√${grouped(parts[0])}`;
    case "msup": return parts[0] + raised(parts[1]);
    case "msub": return `${parts[0]}_${grouped(parts[1])}`;
    case "msubsup": return `${parts[0]}_${grouped(parts[1])}${raised(parts[2])}`;
    case "mspace": return " ";
    case "mtable": return parts.join("; ");
    default: {
      // A sign at the beginning is that of a number.
      const spaced = parts.map((part, index) => (index && children[index][0] === "mo" && SPACED.test(part) ? ` ${part} ` : part));
      return style === "boxed" ? `[${spaced.join("")}]` : spaced.join("");
    }
  }
}

const grouped = (text) => (/^([\p{L}\p{N}.,]*|.)$/u.test(text) ? text : `(${text})`);
const raised = (text) => ([...text].every((letter) => letter in RAISED) ? [...text].map((letter) => RAISED[letter]).join("") : `^${grouped(text)}`);
