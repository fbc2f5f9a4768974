"use strict";

const find = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search).get("q") ?? "";

// In powers of 1,000, as network people count; a dash if there is no number.
function amount(n, unit = "") {
  const power = n >= 1000 ? Math.min(Math.floor(Math.log10(n) / 3), 6) : 0;
  return n == null ? "–" : +(n / 1000 ** power).toFixed(1) + " " + " kMGTPE"[power].trim() + unit;
}

// What others chose is put into the document as text, and in no other way.
function make(tag, attributes, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children.filter((child) => child != null));
  return element;
}
const cell = (text, attributes) => make("td", { textContent: text, ...attributes });
const numbers = (...texts) => texts.map((text) => cell(text, { className: "n" }));
const head = (...names) => make("tr", {}, ...names.map((name) => make("th", { textContent: name })));

function namespace({ id, state, command, path, processes, error, links, more }) {
  const facts = [command, path, processes && "processes: " + processes].filter(Boolean).join(" · ");
  const button = make("button", { textContent: "check a port" });
  button.onclick = () => { find("netns").value = id; find("port").focus(); };
  const title = make("th", { colSpan: 7 }, make("b", { textContent: id }), " ",
    make("small", { textContent: facts }), button, error && make("p", { textContent: error, className: "bad" }));
  const rows = links.map(({ name, "up?": up, counters: c, rates: r }) =>
    make("tr", {}, cell(up ? name : name + " (down)"), ...numbers(
      amount(r.rx_bytes, "B/s"), amount(r.tx_bytes, "B/s"), amount(c.rx_bytes, "B"), amount(c.tx_bytes, "B"),
      amount(c.rx_errors + c.tx_errors), amount(c.rx_dropped + c.tx_dropped))));
  const last = more && make("tr", {}, cell("and more that are not read (max_interfaces)"));
  return make("tbody", { className: state }, make("tr", {}, title), ...rows, last || null);
}

function machine({ node, error, namespaces, failing, receive_rate, transmit_rate }) {
  const rest = error ? [cell(error, { colSpan: 4, className: "bad" })]
    : numbers(namespaces, failing, amount(receive_rate, "B/s"), amount(transmit_rate, "B/s"));
  return make("tr", {}, cell(node), ...rest);
}

function draw({ summary: s, namespaces, matching, machines, pool }) {
  find("summary").textContent = `${s.host}: ${s.namespaces} namespaces, ${s.failing} failing · ${s.interfaces} interfaces `
    + `receive ${amount(s.receive_rate, "B/s")}, transmit ${amount(s.transmit_rate, "B/s")}, `
    + `${amount(s.error_rate)} errors and ${amount(s.drop_rate)} drops a second`;
  find("namespaces").replaceChildren(
    head("Namespace", "Receives", "Transmits", "Received", "Transmitted", "Errors", "Drops"), ...namespaces.map(namespace));
  find("rest").textContent = matching > namespaces.length ? `${namespaces.length} of ${matching}: filter to see the others` : "";
  find("machines").replaceChildren(...machines.length
    ? [head("Machine", "Namespaces", "Failing", "Receives", "Transmits"), ...machines.map(machine)] : []);
  find("pool").textContent = pool && `Helper threads of nlns: ${pool.helpers} of at most ${pool.max_helpers}, `
    + `${pool.stuck} blocked in the kernel, ${pool.waiting} requests waiting`;
}

function show(id, text, good) {
  Object.assign(find(id), { textContent: text, className: good ? "good" : "bad" });
}

async function refresh() {
  let every = 5000;
  try {
    const answer = await fetch("/namespaces?" + new URLSearchParams({ q: query }), { signal: AbortSignal.timeout(10000) });
    const content = await answer.json();
    every = content.every;
    draw(content);
    document.documentElement.dataset.refreshed = Number(document.documentElement.dataset.refreshed ?? 0) + 1;
    show("live", "live", true);
  } catch {
    show("live", "no answer", false);
  }
  setTimeout(refresh, every);
}

find("check").onsubmit = async (event) => {
  event.preventDefault();
  try {
    const asked = new URLSearchParams(new FormData(event.target));
    const { result, ms, error } = await (await fetch("/check?" + asked, { method: "POST" })).json();
    show("result", [result && `${result} (${ms.toFixed(1)} ms)`, error].filter(Boolean).join(": "), result === "open");
  } catch {
    show("result", "the agent does not answer", false);
  }
};
document.querySelector("[name=q]").value = query;
refresh();
