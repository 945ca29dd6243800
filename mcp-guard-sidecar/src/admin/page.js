"use strict";

// What a page of metrics says: name, labels and value of each series.
function parse(text) {
  const series = [];
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
    }
    series.push({ name: match[1].replace(/^mcp_guard_/, ""), labels, value: Number(match[3]) });
  }
  return series;
}

function sum(series, name) {
  return series.filter((one) => one.name === name).reduce((all, one) => all + one.value, 0);
}

// The sums of a metric by the values of a label.
function by(series, name, label) {
  const sums = new Map();
  for (const one of series.filter((one) => one.name === name)) {
    const value = one.labels[label] || "";
    sums.set(value, (sums.get(value) || 0) + one.value);
  }
  return sums;
}

function element(kind, text, style) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (style) made.className = style;
  return made;
}

// Names and reasons come from nodes and clients: they are only ever set as text.
function fill(id, rows) {
  const body = document.querySelector(`#${id} tbody`);
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map(([text, style]) => element("td", text, style)));
    return row;
  }));
}

function rates(id, name, label, now, before, seconds) {
  const earlier = by(before, name, label);
  const rows = [...by(now, name, label)].map(([value, all]) => [value, Math.max(0, all - (earlier.get(value) || 0)) / seconds, all]);
  rows.sort((one, other) => other[1] - one[1] || other[2] - one[2]);
  fill(id, rows.map(([value, rate, all]) => [[value], [rate.toFixed(1), "number"], [String(all), "number"]]));
}

const history = [];

function draw(rate) {
  history.push(rate);
  if (history.length > 120) history.shift();
  const most = Math.max(1, ...history);
  const points = history.map((value, place) => `${place + 120 - history.length},${39 - (value / most) * 38}`);
  document.getElementById("line").setAttribute("points", points.join(" "));
  document.getElementById("rate").textContent = `${rate.toFixed(1)} now, ${most.toFixed(1)} at most`;
}

function show(now, before, seconds, status) {
  document.getElementById("version").textContent = status.version;
  const alarms = [];
  if (status.draining) alarms.push("draining");
  if (status.memoryPressure > 0) alarms.push(`memory mark ${status.memoryPressure}`);
  if (status.config.rejected) alarms.push(`config rejected: ${status.config.rejected}`);
  document.getElementById("alarms").textContent = alarms.join(" · ");
  const mib = (name) => `${Math.round(sum(now, name) / 1048576)} MiB`;
  const levels = ["in_flight", "queue_depth", "concurrency_limit", "sessions", "connections"].map((name) => [name.replaceAll("_", " "), String(sum(now, name))]);
  levels.push(["memory", mib("memory_bytes")], ["memory limit", mib("memory_limit_bytes")]);
  document.getElementById("levels").replaceChildren(...levels.flatMap(([name, level]) => [element("dt", name), element("dd", level)]));
  draw(Math.max(0, sum(now, "requests_total") - sum(before, "requests_total")) / seconds);
  rates("outcomes", "requests_total", "outcome", now, before, seconds);
  rates("refusals", "refusals_total", "reason", now, before, seconds);
  rates("tools", "tool_calls_total", "tool", now, before, seconds);
  const nodes = status.nodes.map((node) => [[node.node], node.healthy ? ["well", "good"] : ["unwell", "bad"], [node.why]]);
  const tripped = now.filter((one) => one.name === "breaker_state" && one.value > 0);
  const breakers = tripped.map(({ labels, value }) => [[labels.tool ? `${labels.node}, tool ${labels.tool}` : labels.node], [value < 2 ? "probing" : "tripped", "bad"], ["breaker"]]);
  fill("nodes", nodes.concat(breakers));
}

let before = null;

async function look() {
  try {
    const [page, status] = await Promise.all([fetch("/metrics").then((answer) => answer.text()), fetch("/status").then((answer) => answer.json())]);
    const now = { at: performance.now(), series: parse(page) };
    if (before) show(now.series, before.series, Math.max(0.001, (now.at - before.at) / 1000), status);
    before = now;
  } catch (error) {
    document.getElementById("alarms").textContent = `the guard does not answer: ${error.message}`;
  }
}

look();
setInterval(look, 1000);
