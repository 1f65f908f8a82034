"use strict";
// Renders /openapi.json: one section per call, schemas as example-like text.
const make = (tag, text, attrs = {}) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  return e;
};

// Paragraphs, `code` and lists: what the descriptions use of Markdown.
function prose(text) {
  const box = make("div");
  for (const block of (text || "").split(/\n\n+/)) {
    const lines = block.split("\n");
    const list = lines.every(l => l.startsWith("- "));
    const parent = list ? make("ul") : make("p");
    for (const line of list ? lines : [block]) {
      const to = list ? parent.appendChild(make("li")) : parent;
      line.replace(/^- /, "").split("`").forEach((part, i) => to.append(i % 2 ? make("code", part) : part));
    }
    box.append(parent);
  }
  return box;
}

function shape(spec, schema, depth = 0, seen = []) {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name)) return name;
    return shape(spec, spec.components.schemas[name], depth, [...seen, name]);
  }
  const types = [].concat(schema.type || []);
  const pad = "  ".repeat(depth + 1);
  if (types.includes("object") && schema.properties) {
    const required = schema.required || [];
    const rows = Object.entries(schema.properties).map(([k, v]) => {
      const note = v.description ? "  // " + v.description : "";
      return `${pad}"${k}"${required.includes(k) ? "" : "?"}: ${shape(spec, v, depth + 1, seen)}${note}`;
    });
    return `{\n${rows.join("\n")}\n${"  ".repeat(depth)}}`;
  }
  if (types.includes("object")) return typeof schema.additionalProperties === "object" && Object.keys(schema.additionalProperties).length
    ? `{[name]: ${shape(spec, schema.additionalProperties, depth, seen)}}` : "{...}";
  if (types.includes("array")) return `[${shape(spec, schema.items, depth, seen)}]`;
  if (schema.enum) return schema.enum.map(v => JSON.stringify(v)).join(" | ");
  return (types.join(" | ") || "any") + (schema.format ? ` (${schema.format})` : "");
}

function section(spec, path, method, op) {
  const s = make("section", undefined, { id: op.operationId });
  const h = make("h3");
  h.append(make("span", method.toUpperCase(), { class: "method" }), " ", make("code", path), " ", op.summary || "");
  s.append(h, prose(op.description));
  if (op.parameters && op.parameters.length) {
    const t = make("table");
    const head = t.appendChild(make("tr"));
    ["Parameter", "In", "Form", "Meaning"].forEach(x => head.append(make("th", x)));
    for (const p of op.parameters) {
      const row = t.appendChild(make("tr"));
      row.append(make("td", p.name + (p.required ? "" : "?")), make("td", p.in), make("td", shape(spec, p.schema)), make("td", p.description || (p.schema || {}).description || ""));
    }
    s.append(t);
  }
  const bodies = [["Body", op.requestBody], ...Object.entries(op.responses || {}).filter(([c]) => c < "300").map(([c, r]) => ["Answer " + c, r])];
  for (const [name, b] of bodies) for (const [media, m] of Object.entries((b && b.content) || {})) {
    const d = make("details");
    d.append(make("summary", `${name}: ${media}`), make("pre", shape(spec, m.schema)));
    s.append(d);
  }
  const errors = Object.keys(op.responses || {}).filter(c => c >= "400");
  if (errors.length) s.append(make("p", "Problems: " + errors.join(", ")));
  return s;
}

async function main() {
  const calls = document.getElementById("calls"), nav = document.getElementById("nav");
  let spec;
  try {
    spec = await (await fetch("/openapi.json")).json();
  } catch {
    calls.textContent = "The description could not be read. Reload the page.";
    return;
  }
  document.getElementById("intro").append(prose(spec.info.description), prose(spec.components.securitySchemes.key.description));
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) for (const [method, op] of Object.entries(item)) {
    const tag = (op.tags || ["Other"])[0];
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push([path, method, op]);
  }
  calls.textContent = "";
  for (const tag of (spec.tags || []).map(t => t.name).filter(t => groups.has(t))) {
    nav.append(make("h2", tag));
    calls.append(make("h2", tag));
    for (const [path, method, op] of groups.get(tag)) {
      nav.append(make("a", op.summary || path, { href: "#" + op.operationId }));
      calls.append(section(spec, path, method, op));
    }
  }
  document.getElementById("find").addEventListener("input", e => {
    const want = e.target.value.trim().toLowerCase();
    for (const s of calls.querySelectorAll("section")) s.hidden = !s.textContent.toLowerCase().includes(want);
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}
main();
