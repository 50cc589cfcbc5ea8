"use strict";
// The status page: asks for a reading every two seconds and draws what changed between two of them.
const EVERY_MS = 2000, KEPT_MS = 5 * 60 * 1000, CONFIG_EVERY_MS = 30000;
const $ = (id) => document.getElementById(id);
const element = (name, of = "", text = "") => { const e = document.createElement(name); if (of) e.className = of; e.textContent = text; return e; };
const whole = (n) => Math.round(n).toLocaleString("en-US");
function short(n, unit = "") {
  for (const [size, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(n) >= size) return `${(n / size).toFixed(n / size < 10 ? 2 : 1)} ${name}${unit}`;
  return `${n < 10 && n !== Math.round(n) ? n.toFixed(1) : Math.round(n)}${unit ? ` ${unit}` : ""}`;
}
function span(seconds) {
  const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${Math.floor(seconds) % 60} s` : `${Math.floor(seconds)} s`;
}
const ms = (seconds) => (seconds === null ? "–" : seconds < 0.001 ? `${Math.round(seconds * 1e6)} µs` : `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 1)} ms`);

// --- readings ----------------------------------------------------------------------------------
let now = null, before = null, config = [], points = [], paused = false, lost = null;
let tab = location.hash.slice(1) || "topics";
const opened = new Set();

const apiOf = (reading, name) => reading.requests.find((api) => api.api === name);
/** How long requests took between two readings: the quantile `q` in seconds, or null. */
function quantile(newer, older, bounds, q) {
  if (!newer) return null;
  const counts = newer.buckets.map((count, at) => count - (older ? older.buckets[at] : 0));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = q * total;
  for (let at = 0; at < counts.length; at++) {
    if (left <= counts[at]) {
      const from = at ? bounds[at - 1] : 0, to = at < bounds.length ? bounds[at] : from;
      return from + (to - from) * (counts[at] ? left / counts[at] : 1);
    }
    left -= counts[at];
  }
  return bounds[bounds.length - 1];
}
/** What happened between two readings, a second. */
function delta(newer, older) {
  const seconds = (newer.now_ms - older.now_ms) / 1000;
  const per = (a, b) => Math.max(0, a - b) / seconds;
  const sum = (reading, of, but = () => true) => reading.requests.filter(but).reduce((total, api) => total + of(api), 0);
  const named = (name) => per((apiOf(newer, name) || { count: 0 }).count, (apiOf(older, name) || { count: 0 }).count);
  const other = (api) => api.api !== "Produce" && api.api !== "Fetch";
  const produce = [apiOf(newer, "Produce"), apiOf(older, "Produce")];
  return {
    t: newer.now_ms,
    in: per(sum(newer, (api) => api.request_bytes), sum(older, (api) => api.request_bytes)),
    out: per(sum(newer, (api) => api.response_bytes), sum(older, (api) => api.response_bytes)),
    produce: named("Produce"), fetch: named("Fetch"),
    others: per(sum(newer, (api) => api.count, other), sum(older, (api) => api.count, other)),
    errors: per(sum(newer, (api) => api.errors), sum(older, (api) => api.errors)),
    p50: quantile(...produce, newer.bounds, 0.5), p99: quantile(...produce, newer.bounds, 0.99),
    cpu: per(newer.process.cpu_seconds || 0, older.process.cpu_seconds || 0),
  };
}
async function ask() {
  if (!paused) {
    try {
      const answer = await fetch("/api/status", { cache: "no-store" });
      if (!answer.ok) throw new Error(`the broker answers ${answer.status}`);
      const reading = await answer.json();
      // Another process began to count anew.
      if (now && now.process.start_seconds !== reading.process.start_seconds) { now = null; points = []; }
      before = now;
      now = reading;
      lost = null;
      if (before && now.now_ms > before.now_ms) points.push(delta(now, before));
      points = points.filter((point) => point.t > now.now_ms - KEPT_MS);
    } catch (error) {
      lost = error;
    }
    draw();
  }
  setTimeout(ask, EVERY_MS);
}
async function askConfig() {
  try {
    const answer = await fetch("/api/config", { cache: "no-store" });
    if (answer.ok) { config = await answer.json(); if (tab === "config") panel(); }
  } catch (error) { /* the status says that the broker is away */ }
  setTimeout(askConfig, config.length ? CONFIG_EVERY_MS : EVERY_MS);
}

// --- the top -----------------------------------------------------------------------------------
function upper() {
  const state = $("state"), alarm = $("alarm");
  const reasons = lost ? [`No answer: ${lost.message}. These figures are the last ones.`] : now.reasons;
  state.textContent = lost ? "no answer" : now.ready ? "ready" : now.phase === "serving" ? "not ready" : now.phase;
  state.classList.toggle("bad", Boolean(lost) || !now.ready);
  alarm.hidden = reasons.length === 0;
  alarm.textContent = reasons.join(" · ");
  if (!now) return;
  const up = now.process.start_seconds ? ` · up ${span(now.now_ms / 1000 - now.process.start_seconds)}` : "";
  $("facts").textContent = `node ${now.node} · cluster ${now.cluster} · version ${now.version}${up}`;
  const last = points[points.length - 1] || { in: 0, out: 0, produce: 0, fetch: 0, others: 0, errors: 0, p99: null, cpu: 0 };
  const lag = now.groups.reduce((sum, group) => sum + group.topics.reduce((sum, topic) => sum + topic.lag, 0), 0);
  const tiles = [
    [`${short(last.in, "B")}/s`, "in"], [`${short(last.out, "B")}/s`, "out"],
    [`${short(last.produce + last.fetch + last.others)}/s`, "requests"],
    [`${short(last.errors)}/s`, "error codes in answers", last.errors > 0],
    [ms(last.p99), "produce, 99 of 100"],
    [whole(now.connections), "connections"], [whole(now.partitions), now.offline ? `partitions, ${now.offline} offline` : "partitions", now.offline > 0],
    [short(lag), "records not consumed yet"],
    [now.process.resident_bytes ? short(now.process.resident_bytes, "B") : "–", "memory"], [`${(last.cpu * 100).toFixed(0)} %`, "of one processor"],
  ];
  $("tiles").replaceChildren(...tiles.map(([value, name, bad]) => {
    const tile = element("div", bad ? "tile bad" : "tile");
    tile.append(element("b", "", value), element("span", "", name));
    return tile;
  }));
  const left = now.partitions_left_out || now.groups_left_out;
  $("footer").textContent = `Read ${new Date(now.now_ms).toLocaleTimeString()}, every ${EVERY_MS / 1000} s.` + (left ? ` Not listed: ${now.partitions_left_out} partitions and ${now.groups_left_out} groups (gregor.metrics.max.partitions, gregor.metrics.max.groups).` : "");
}

// --- curves ------------------------------------------------------------------------------------
function chart(id, series, format) {
  const canvas = $(id), box = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
  canvas.width = box.width * scale;
  canvas.height = box.height * scale;
  const ink = canvas.getContext("2d"), style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(`--${name}`);
  ink.scale(scale, scale);
  const left = 58, right = box.width - 4, ceiling = 8, lower = box.height - 16, end = now.now_ms, from = end - KEPT_MS;
  const most = Math.max(...series.flatMap(([name]) => points.map((point) => point[name] || 0)), 0) * 1.1 || 1;
  const x = (t) => left + ((t - from) / KEPT_MS) * (right - left), y = (value) => lower - (value / most) * (lower - ceiling);
  ink.font = "11px system-ui, sans-serif";
  ink.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    const value = (most / 1.1) * part;
    ink.strokeStyle = color("line");
    ink.beginPath(); ink.moveTo(left, y(value)); ink.lineTo(right, y(value)); ink.stroke();
    ink.fillStyle = color("pale");
    ink.textAlign = "right";
    ink.fillText(format(value), left - 6, y(value) + 4);
  }
  ink.textAlign = "left"; ink.fillText("5 min ago", left, box.height - 3);
  ink.textAlign = "right"; ink.fillText("now", right, box.height - 3);
  for (const [name, tint] of series) {
    ink.strokeStyle = color(tint);
    ink.lineWidth = 1.8;
    ink.beginPath();
    let drawing = false;
    for (const point of points) {
      if (point[name] === null) { drawing = false; continue; }
      if (drawing) ink.lineTo(x(point.t), y(point[name])); else ink.moveTo(x(point.t), y(point[name]));
      drawing = true;
    }
    ink.stroke();
  }
}

// --- tables ------------------------------------------------------------------------------------
// A column is [head, whether it is a number]; a row has cells, and perhaps parts that open.
function bar(share, text, warn = 2, bad = 2) {
  const cell = element("td"), bar = element("span", share >= bad ? "bar bad" : share >= warn ? "bar warn" : "bar"), fill = element("i");
  fill.style.width = `${Math.round(Math.min(1, Math.max(0, share)) * 100)}%`;
  bar.append(fill);
  cell.append(bar, text);
  return cell;
}
function cellOf(value, number) {
  if (value instanceof Node) return value;
  return element("td", number ? "n" : "", String(value));
}
const TABLES = {
  topics: {
    columns: [["Topic"], ["Partitions", 1], ["Records", 1], ["Size", 1], ["In / s", 1], ["Out / s", 1], ["Segments", 1]],
    rows() {
      const older = new Map(before ? before.topics.map((topic) => [topic.name, topic]) : []);
      const seconds = before ? (now.now_ms - before.now_ms) / 1000 : 0;
      const sum = (topic, of) => topic.partitions.reduce((total, partition) => total + of(partition), 0);
      return now.topics.map((topic) => {
        const was = older.get(topic.name), rate = (of) => (was && seconds ? `${short(Math.max(0, sum(topic, of) - sum(was, of)) / seconds, "B")}` : "–");
        return {
          key: topic.name,
          cells: [topic.name, whole(topic.partitions.length), whole(sum(topic, (p) => p.high_watermark - p.start)), short(sum(topic, (p) => p.size_bytes), "B"), rate((p) => p.appended_bytes), rate((p) => p.fetched_bytes), whole(sum(topic, (p) => p.segments))],
          parts: () => topic.partitions.map((p) => [`partition ${p.index}: offsets ${whole(p.start)} to ${whole(p.high_watermark)}`, "", whole(p.high_watermark - p.start), short(p.size_bytes, "B"), "", "", whole(p.segments)]),
        };
      });
    },
    empty: "No topics yet. gregor topic create NAME makes one.",
  },
  groups: {
    columns: [["Group"], ["State"], ["Members", 1], ["Consumed t = Σ oᵢ", 1], ["Remaining r = Σ (mᵢ − oᵢ)", 1], ["Progress"]],
    rows() {
      return now.groups.map((group) => {
        const t = group.topics.reduce((sum, topic) => sum + topic.committed, 0), r = group.topics.reduce((sum, topic) => sum + topic.lag, 0);
        const share = (t, r) => (t + r ? t / (t + r) : 1), percent = (share) => `${Math.floor(share * 100)} %`;
        return {
          key: group.name,
          cells: [group.name, group.state, whole(group.members), whole(t), whole(r), bar(share(t, r), percent(share(t, r)))],
          parts: () => group.topics.map((topic) => [topic.name, "", "", whole(topic.committed), whole(topic.lag), bar(share(topic.committed, topic.lag), percent(share(topic.committed, topic.lag)))]),
        };
      });
    },
    empty: "No groups yet. gregor consume TOPIC --group NAME begins one.",
  },
  requests: {
    columns: [["API"], ["Requests", 1], ["/ s", 1], ["Bytes in", 1], ["Bytes out", 1], ["Median", 1], ["99 of 100", 1], ["Errors", 1]],
    rows() {
      const seconds = before ? (now.now_ms - before.now_ms) / 1000 : 0;
      return now.requests.map((api) => {
        const was = before && apiOf(before, api.api);
        return {
          key: api.api,
          cells: [api.api, whole(api.count), seconds ? short((api.count - (was ? was.count : 0)) / seconds) : "–", short(api.request_bytes, "B"), short(api.response_bytes, "B"), ms(quantile(api, null, now.bounds, 0.5)), ms(quantile(api, null, now.bounds, 0.99)), whole(api.errors)],
          parts: () => api.error_codes.map(([name, count]) => [name, "", "", "", "", "", "", whole(count)]),
        };
      });
    },
    empty: "No requests yet.",
  },
  directories: {
    columns: [["Path"], ["State"], ["Partitions", 1], ["Used of its disk"], ["Journal flushes", 1]],
    rows() {
      return now.directories.map((dir) => {
        const used = dir.total_bytes ? 1 - dir.free_bytes / dir.total_bytes : 0;
        const state = element("td", dir.state === "online" ? "" : "bad", dir.state);
        if (dir.reason) state.append(element("small", "", dir.reason));
        return { key: dir.path, cells: [dir.path, state, whole(dir.partitions), dir.total_bytes ? bar(used, `${Math.round(used * 100)} % of ${short(dir.total_bytes, "B")}`, 0.8, 0.95) : "–", whole(dir.journal_flushes)] };
      });
    },
    empty: "No log directories.",
  },
  config: {
    columns: [["Key"], ["Value"], ["Source"]],
    rows() {
      return config.map((key) => {
        const name = element("td"), value = element("td");
        name.append(element("code", "", key.name), element("small", "", key.doc || ""));
        value.append(element("code", "", key.value === null ? "not set" : key.value));
        return { key: key.name, search: `${key.name} ${key.value} ${key.source} ${key.doc}`, cells: [name, value, key.source] };
      });
    },
    empty: "Not read yet.",
  },
};
function panel() {
  const { columns, rows, empty } = TABLES[tab], words = $("filter").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const text = (cell) => (cell instanceof Node ? cell.textContent : String(cell));
  const all = rows(), found = all.filter((row) => { const search = (row.search || row.cells.map(text).join(" ")).toLowerCase(); return words.every((word) => search.includes(word)); });
  $("count").textContent = all.length ? `${whole(found.length)} of ${whole(all.length)}` : "";
  for (const button of $("tabs").querySelectorAll("[role=tab]")) button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  if (!all.length) { $("panel").replaceChildren(element("p", "empty", empty)); return; }
  const table = element("table"), head = element("tr"), body = element("tbody");
  for (const [name, number] of columns) head.append(element("th", number ? "n" : "", name));
  for (const row of found.slice(0, 1000)) {
    const line = element("tr"), key = `${tab}/${row.key}`, parts = row.parts ? row.parts() : [];
    row.cells.forEach((cell, at) => line.append(cellOf(cell, columns[at][1])));
    body.append(line);
    if (!parts.length) continue;
    line.classList.add("opens");
    line.classList.toggle("open", opened.has(key));
    line.tabIndex = 0;
    line.dataset.key = key;
    const toggle = () => { if (!opened.delete(key)) opened.add(key); panel(); const again = $("panel").querySelector(`[data-key="${CSS.escape(key)}"]`); if (again) again.focus(); };
    line.addEventListener("click", toggle);
    line.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
    if (opened.has(key)) for (const part of parts) {
      const under = element("tr", "part");
      part.forEach((cell, at) => under.append(cellOf(cell, columns[at][1])));
      body.append(under);
    }
  }
  const thead = element("thead");
  thead.append(head);
  table.append(thead, body);
  $("panel").replaceChildren(table);
}
function draw() {
  if (!now) { if (lost) upper(); return; }
  upper();
  chart("bytes", [["in", "in"], ["out", "out"]], (value) => short(value, "B"));
  chart("rates", [["others", "other"], ["fetch", "out"], ["produce", "in"]], (value) => short(value));
  chart("times", [["p99", "bad"], ["p50", "in"]], (value) => (value * 1000).toFixed(value < 0.01 ? 2 : 0));
  // A row that has the focus is not taken away from under a reader's hands.
  if (!$("panel").contains(document.activeElement) || tab !== "config") keepFocus(panel);
}
function keepFocus(action) {
  const key = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : undefined;
  action();
  const again = key && $("panel").querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (again) again.focus({ preventScroll: true });
}

// --- the frame around it -----------------------------------------------------------------------
if (!(tab in TABLES)) tab = "topics";
for (const button of $("tabs").querySelectorAll("[role=tab]")) button.addEventListener("click", () => { tab = button.dataset.tab; showTab(); if (now) panel(); });
function showTab() { window.history.replaceState(null, "", `#${tab}`); }
$("filter").addEventListener("input", () => { if (now) panel(); });
$("pause").addEventListener("click", () => { paused = !paused; $("pause").textContent = paused ? "Go on" : "Pause"; $("pause").setAttribute("aria-pressed", String(paused)); });
const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(on) { document.documentElement.classList.toggle("dark", on); draw(); }
$("theme").addEventListener("click", () => theme(!document.documentElement.classList.contains("dark")));
dark.addEventListener("change", () => theme(dark.matches));
addEventListener("resize", draw);
theme(dark.matches);
ask();
askConfig();
