// What the node's pages share. Text of strangers only ever becomes a text node.

export const API = "/api/v1/pouw";

export const byId = (id) => document.getElementById(id);

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A cell is text, a node, or {text, ...attributes}.
function cell(name, value) {
  if (value instanceof Node) {
    const holder = element(name);
    holder.append(value);
    return holder;
  }
  if (value !== null && typeof value === "object") {
    const { text, ...attributes } = value;
    return element(name, text, attributes);
  }
  return element(name, String(value ?? "–"));
}

export function fill(table, heads, rows, empty) {
  const head = element("tr");
  head.append(...heads.map((text) => element("th", text, { scope: "col" })));
  const lines = rows.map((row) => {
    const line = element("tr");
    line.append(...row.map((value) => cell("td", value)));
    return line;
  });
  if (!lines.length) lines.push(wide(heads.length, empty));
  const [top, body] = [element("thead"), element("tbody")];
  top.append(head);
  body.append(...lines);
  table.replaceChildren(top, body);
}

function wide(columns, text) {
  const line = element("tr");
  line.append(element("td", text, { colspan: columns, class: "quiet" }));
  return line;
}

export function describe(list, facts) {
  list.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [element("dt", name), element("dd", String(value ?? "–"))]));
}

export const moment = (seconds) =>
  seconds ? new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "never";

export function ago(seconds, now) {
  if (!seconds) return "never";
  const gone = Math.max(0, now - seconds);
  const [size, unit] = [[86400, "days"], [3600, "h"], [60, "min"], [1, "s"]].find(([least]) => gone >= 2 * least) ?? [1, "s"];
  return `${Math.floor(gone / size)} ${unit} ago`;
}

// The problem document's words for an answer that is none of success; the node itself may be away.
export async function explain(answer) {
  try {
    const problem = await answer.json();
    return `${problem.title} ${problem.detail ?? ""}`.trim();
  } catch {
    return `The node answered ${answer.status}.`;
  }
}
