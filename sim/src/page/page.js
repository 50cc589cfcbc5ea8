"use strict";
// A run as lanes over simulated time. All times are microseconds.
const run = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const seconds = (t, digits = 6) => (t / 1e6).toFixed(digits);
const count = (n) => n.toLocaleString("en-US");

// --- what there is ---------------------------------------------------------------------------
// Every item has: t (when), end, lane (-1: the world's), kind (of the legend), name, text, search.
const KINDS = {
  produce: { label: "Produce", paint: message("produce") },
  fetch: { label: "Fetch", paint: message("fetch") },
  group: { label: "group requests", paint: message("group") },
  other: { label: "other requests", paint: message("other") },
  lost: { label: "request without an answer", paint: (c, x, y) => stub(c, x, y, color("bad")) },
  ack: { label: "acknowledged", paint: (c, x, y) => dot(c, x, y, 3.2, color("ack")) },
  learnt: { label: "fetched, committed", paint: (c, x, y) => ring(c, x, y, 2.8, color("fetch")) },
  life: { label: "boot", paint: (c, x, y) => triangle(c, x, y, color("ack")) },
  death: { label: "crash, halt", paint: (c, x, y) => cross(c, x, y, color("bad")) },
  fault: { label: "fault", paint: (c, x, y) => diamond(c, x, y, color("warn")) },
  core: { label: "what a core took in", paint: (c, x, y) => dot(c, x, y, 2.6, color("group")) },
  broken: { label: "connection reset", paint: (c, x, y) => zigzag(c, x, y, color("warn")) },
  sync: { label: "sync", paint: (c, x, y) => tick(c, x, y, 6, color("sync")) },
  dir: { label: "directory sync", paint: (c, x, y) => tick(c, x, y, 6, color("dir")) },
  disk: { label: "write, other disk operation", paint: (c, x, y) => tick(c, x, y, 3.5, color("write")) },
  bad: { label: "failed disk operation", paint: (c, x, y) => tick(c, x, y, 7, color("bad")) },
};
function message(name) { return (c, x, y) => { c.strokeStyle = color(name); c.lineWidth = 1.6; c.beginPath(); c.moveTo(x - 5, y + 6); c.lineTo(x + 5, y - 6); c.stroke(); }; }

const DISK = { write: "write", set_len: "truncate", rename: "rename", remove: "remove", mkdir: "make directory", rmdir: "remove directory", sync: "sync", sync_dir: "sync directory", sync_fs: "sync file system" };
const GROUP = /^(FindCoordinator|JoinGroup|SyncGroup|LeaveGroup|Heartbeat|Offset(Commit|Fetch|Delete)|.*Groups?) /;
const lane = (n) => (n === null || n === undefined ? -1 : n);
const who = (n) => (n < 0 ? "world" : run.nodes[n] || `node ${n}`);

function kindOf(event) {
  const { k } = event;
  if (k in DISK) return event.bad ? "bad" : k === "sync" || k === "sync_fs" ? "sync" : k === "sync_dir" ? "dir" : "disk";
  return { acked: "ack", fetched: "learnt", committed: "learnt", reset: "broken", boot: "life", resume: "life", pause: "fault", fault: "fault", calm: "fault", crash: "death", halt: "death", stop: "death", metadata: "core", group: "core", clean: "core" }[k] || "fault";
}
function apiKind(m) {
  if (m.t[3] === null) return "lost";
  if (m.k.startsWith("Produce")) return "produce";
  if (m.k.startsWith("Fetch")) return "fetch";
  return GROUP.test(m.k) ? "group" : "other";
}
const items = [];
const ofEvent = run.events.map((event) => {
  const kind = kindOf(event);
  let at = lane(event.n);
  const item = { t: event.t, end: event.t, lane: at, kind, name: event.k === "calm" ? "faults over" : DISK[event.k] || event.k, text: event.x, event };
  items.push(item);
  return item;
});
for (const m of run.messages) {
  const last = Math.max(...m.t.filter((t) => t !== null));
  items.push({ t: m.t[0], end: last, lane: m.n, kind: apiKind(m), name: m.k, text: m.x, message: m });
}
for (const w of run.windows) {
  items.push({ t: w.from, end: w.to, lane: w.nodes.length === 1 ? w.nodes[0] : -1, kind: w.kind === "fault" ? "fault" : w.kind === "down" ? "death" : "fault", name: w.label, text: w.text, window: w });
}
let oracle = null;
if (run.failed) {
  const [name] = run.failed.text.split(":");
  oracle = { t: run.failed.at, end: run.failed.at, lane: -1, kind: "death", name: `oracle: ${name}`, text: run.failed.text, oracle: true };
  items.push(oracle);
}
items.sort((a, b) => a.t - b.t);
for (const item of items) {
  item.search = `${item.name} ${who(item.lane)} ${item.text} ${item.message ? item.message.y : ""}`.toLowerCase();
  item.on = true;
}

// --- where it is drawn -------------------------------------------------------------------------
const GUTTER = 140, RIGHT = 14, AXIS = 26, ROW = 17, CURVES = 118;
const canvas = $("lanes"), ink = canvas.getContext("2d");
const end = Math.max(run.end, run.failed ? run.failed.at : 0, 1000);
const view = { from: 0, to: end };
const hidden = new Set();
let width = 0, selected = null, hovered = null, filter = "", queued = false;

// Faults of the plan are packed into rows so that no two overlap while the whole run is shown.
const faults = items.filter((item) => item.window && item.window.kind === "fault");
let rows = 1;
{
  const ends = [];
  for (const item of faults) {
    const room = Math.max(item.end - item.t, end * (0.012 + 0.0052 * item.name.length)) + end * 0.004;
    let row = ends.findIndex((free) => free <= item.t);
    if (row < 0) row = ends.length < 7 ? ends.push(0) - 1 : ends.indexOf(Math.min(...ends));
    ends[row] = item.t + room;
    item.row = row;
  }
  rows = Math.max(1, ends.length);
}
const top0 = AXIS + rows * ROW + 12;
const heights = run.nodes.map((_, n) => (n === 0 ? 84 : 40));
const tops = heights.map((_, n) => top0 + heights.slice(0, n).reduce((a, b) => a + b, 0));
const curvesTop = top0 + heights.reduce((a, b) => a + b, 0) + 10;
// What was acknowledged, by partition: when, and the offset after it.
const acked = {};
for (const { t, k, d: [partition, offset, length] } of run.events) {
  if (k !== "acked") continue;
  const points = acked[partition] || (acked[partition] = []);
  points.push([t, Math.max(offset + length, points.length ? points[points.length - 1][1] : 0)]);
}
const partitions = [...new Set(Object.keys(run.watermarks).concat(Object.keys(acked)))].sort((a, b) => a - b);
const height = curvesTop + (partitions.length ? CURVES + 22 : 4);
const base = (n) => (n < 0 ? AXIS + (rows * ROW) / 2 : n === 0 ? tops[0] + 24 : tops[n] + heights[n] / 2);
const diskY = (n) => (n === 0 ? tops[0] + heights[0] - 17 : base(n) + 11);
const X = (t) => GUTTER + ((t - view.from) / (view.to - view.from)) * (width - GUTTER - RIGHT);
const T = (x) => view.from + ((x - GUTTER) / (width - GUTTER - RIGHT)) * (view.to - view.from);

let palette = {};
function color(name) { return palette[name] || (palette[name] = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()); }
function dot(c, x, y, r, fill) { c.fillStyle = fill; c.beginPath(); c.arc(x, y, r, 0, 7); c.fill(); }
function ring(c, x, y, r, stroke) { c.strokeStyle = stroke; c.lineWidth = 1.3; c.beginPath(); c.arc(x, y, r, 0, 7); c.stroke(); }
function tick(c, x, y, h, stroke) { c.strokeStyle = stroke; c.lineWidth = 1.4; c.beginPath(); c.moveTo(x, y - h); c.lineTo(x, y + h); c.stroke(); }
function cross(c, x, y, stroke) { c.strokeStyle = stroke; c.lineWidth = 2.4; c.beginPath(); c.moveTo(x - 5, y - 5); c.lineTo(x + 5, y + 5); c.moveTo(x + 5, y - 5); c.lineTo(x - 5, y + 5); c.stroke(); }
function triangle(c, x, y, fill) { c.fillStyle = fill; c.beginPath(); c.moveTo(x - 5, y + 5); c.lineTo(x + 5, y + 5); c.lineTo(x, y - 5); c.fill(); }
function diamond(c, x, y, fill) { c.fillStyle = fill; c.beginPath(); c.moveTo(x - 5.5, y); c.lineTo(x, y - 5.5); c.lineTo(x + 5.5, y); c.lineTo(x, y + 5.5); c.fill(); }
function zigzag(c, x, y, stroke) { c.strokeStyle = stroke; c.lineWidth = 1.6; c.beginPath(); c.moveTo(x - 2, y - 6); c.lineTo(x + 2, y - 1); c.lineTo(x - 2, y + 1); c.lineTo(x + 2, y + 6); c.stroke(); }
function stub(c, x, y, stroke) { c.strokeStyle = stroke; c.lineWidth = 1.4; c.setLineDash([3, 2]); c.beginPath(); c.moveTo(x - 5, y + 6); c.lineTo(x + 5, y - 6); c.stroke(); c.setLineDash([]); }

function shows(item) { return !hidden.has(item.kind); }
function place(item) {
  const x = X(item.t);
  if (item.oracle) return { x, y: AXIS - 6 };
  if (item.window) return item.window.kind === "fault" ? { x, y: AXIS + item.row * ROW + ROW / 2 } : { x: (Math.max(X(item.t), GUTTER) + Math.min(X(item.end), width - RIGHT)) / 2, y: tops[item.lane] + 6 };
  if (item.message) {
    const m = item.message, [a, b] = segments(m)[0];
    return { x: (X(a[0]) + X(b[0])) / 2, y: (a[1] + b[1]) / 2 };
  }
  const disk = item.event.k in DISK;
  return { x, y: disk ? diskY(item.lane) : item.lane < 0 ? AXIS + rows * ROW + 5 : base(item.lane) };
}
// The legs of a message, each from [time, y] to [time, y].
function segments(m) {
  const c = base(m.n), s = base(m.s) + 7, [t0, t1, t2, t3] = m.t, legs = [];
  // What never arrived ends half way.
  if (t1 === null) legs.push([[t0, c], [t0 + (view.to - view.from) * 0.004, c + (s - c) * 0.35], true]);
  else legs.push([[t0, c], [t1, s], false]);
  if (t3 !== null) legs.push([[t2 === null ? t3 : t2, s], [t3, c], false]);
  return legs;
}

const FACE = "ui-sans-serif, system-ui, 'DejaVu Sans', sans-serif";
function text(string, x, y, fill, font) { ink.fillStyle = fill; ink.font = font || `12px ${FACE}`; ink.fillText(string, x, y); }
function draw() {
  drawLanes();
  // Outside of what is clipped.
  drawCurveNames();
}
function drawLanes() {
  queued = false;
  ink.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  ink.clearRect(0, 0, width, height);
  ink.textBaseline = "middle";
  drawGrid();
  ink.save();
  ink.beginPath();
  ink.rect(GUTTER - 6, 0, width - GUTTER + 6, height);
  ink.clip();
  drawStates();
  drawMessages();
  drawEvents();
  drawFaults();
  drawCurves();
  if (oracle) drawOracle();
  if (selected) drawSelected();
  ink.restore();
}
function redraw() { if (!queued) { queued = true; requestAnimationFrame(draw); } }
const visible = (item) => item.end >= view.from && item.t <= view.to;

function drawGrid() {
  const span = view.to - view.from, target = span / Math.max(2, (width - GUTTER) / 110);
  let step = Math.pow(10, Math.floor(Math.log10(target)));
  step *= target / step > 5 ? 10 : target / step > 2 ? 5 : target / step > 1 ? 2 : 1;
  const digits = Math.max(0, 6 - Math.floor(Math.log10(step) + 1e-9));
  ink.lineWidth = 1;
  run.nodes.forEach((name, n) => {
    if (n % 2 === 0) { ink.fillStyle = color("faint"); ink.globalAlpha = 0.55; ink.fillRect(0, tops[n], width, heights[n]); ink.globalAlpha = 1; }
    ink.strokeStyle = color("line");
    ink.beginPath(); ink.moveTo(GUTTER, base(n)); ink.lineTo(width, base(n)); ink.stroke();
    text(name, 14, n === 0 ? base(0) : base(n), color("ink"), `600 12.5px ${FACE}`);
    if (n === 0) text("its disk", 14, diskY(0), color("soft"));
  });
  text("faults", 14, AXIS + ROW / 2, color("ink"), `600 12.5px ${FACE}`);
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = X(t);
    if (x < GUTTER - 1) continue;
    ink.strokeStyle = color("line");
    ink.beginPath(); ink.moveTo(x, AXIS - 5); ink.lineTo(x, height); ink.stroke();
    ink.textAlign = "center";
    if (x < width - 24 && !(oracle && Math.abs(x - X(oracle.t)) < 170)) text(`${(t / 1e6).toFixed(Math.min(digits, 6))} s`, x, 11, color("soft"), `11.5px ${FACE}`);
    ink.textAlign = "left";
  }
}
function hatch(x, y, w, h, fill, stroke) {
  ink.fillStyle = fill;
  ink.fillRect(x, y, w, h);
  ink.save(); ink.beginPath(); ink.rect(x, y, w, h); ink.clip();
  ink.strokeStyle = stroke; ink.globalAlpha *= 0.28; ink.lineWidth = 1; ink.beginPath();
  for (let at = x - h - (((x - h) % 7) + 7) % 7; at < x + w; at += 7) { ink.moveTo(at, y + h); ink.lineTo(at + h, y); }
  ink.stroke(); ink.restore();
}
function alphaOf(item, full = 1) { return filter && !item.on ? full * 0.07 : full; }
function drawStates() {
  for (const item of items) {
    if (!item.window || !visible(item)) continue;
    const x = Math.max(X(item.t), GUTTER - 8), w = Math.max(Math.min(X(item.end), width + 8) - x, 1.5);
    if (item.window.kind === "fault") {
      if (item.end === item.t || !shows(item)) continue;
      ink.globalAlpha = alphaOf(item, 0.75);
      ink.fillStyle = color("warn-soft");
      const lanes = item.window.nodes.length ? item.window.nodes : run.nodes.map((_, n) => n);
      for (const n of lanes) if (n < tops.length) ink.fillRect(x, tops[n], w, heights[n]);
      ink.globalAlpha = 1;
      continue;
    }
    const down = item.window.kind === "down";
    hatch(x, tops[item.lane], w, heights[item.lane], color(down ? "down" : "paused"), color(down ? "bad" : "soft"));
    if (w > 46) text(down ? "down" : "paused", x + 6, tops[item.lane] + 9, color(down ? "bad" : "soft"), `11px ${FACE}`);
  }
}
function drawMessages() {
  const dense = items.length > 0 ? Math.min(1, 900 / Math.max(1, items.filter((i) => i.message && visible(i)).length)) : 1;
  for (const item of items) {
    if (!item.message || !visible(item) || !shows(item)) continue;
    const strong = item === hovered || item === selected;
    ink.globalAlpha = strong ? 1 : alphaOf(item, 0.28 + 0.5 * dense);
    ink.strokeStyle = color(item.kind === "lost" ? "bad" : item.kind);
    ink.lineWidth = strong ? 2.4 : 1.1;
    for (const [a, b, stops] of segments(item.message)) {
      const ax = X(a[0]), bx = X(b[0]);
      if (item.kind === "lost") ink.setLineDash([4, 3]);
      ink.beginPath(); ink.moveTo(ax, a[1]); ink.lineTo(bx, b[1]); ink.stroke();
      ink.setLineDash([]);
      if (stops) { ink.beginPath(); ink.moveTo(bx - 3, b[1] - 3); ink.lineTo(bx + 3, b[1] + 3); ink.moveTo(bx + 3, b[1] - 3); ink.lineTo(bx - 3, b[1] + 3); ink.stroke(); }
      else if (dense > 0.5) arrowhead(ax, a[1], bx, b[1]);
    }
  }
  ink.globalAlpha = 1;
}
function arrowhead(ax, ay, bx, by) {
  const angle = Math.atan2(by - ay, bx - ax), size = 5;
  ink.fillStyle = ink.strokeStyle;
  ink.beginPath(); ink.moveTo(bx, by);
  ink.lineTo(bx - size * Math.cos(angle - 0.4), by - size * Math.sin(angle - 0.4));
  ink.lineTo(bx - size * Math.cos(angle + 0.4), by - size * Math.sin(angle + 0.4));
  ink.fill();
}
function drawEvents() {
  // The more telling ones on top.
  for (const order of [["disk"], ["dir", "sync", "learnt", "broken"], ["ack", "bad"], ["life", "fault", "death"]]) {
    for (const item of items) {
      if (!item.event || !order.includes(item.kind) || !visible(item) || !shows(item)) continue;
      if (item.event.k === "calm") { drawCalm(item); continue; }
      const { x, y } = place(item);
      ink.globalAlpha = alphaOf(item);
      KINDS[item.kind].paint(ink, x, y);
    }
  }
  ink.globalAlpha = 1;
}
function drawCalm(item) {
  const x = X(item.t);
  ink.strokeStyle = color("soft"); ink.setLineDash([2, 4]); ink.lineWidth = 1.2;
  ink.beginPath(); ink.moveTo(x, AXIS - 4); ink.lineTo(x, height); ink.stroke(); ink.setLineDash([]);
  text("faults over", x + 5, AXIS + ROW / 2, color("soft"), `11px ${FACE}`);
}
function drawFaults() {
  ink.font = `11px ${FACE}`;
  for (const item of faults) {
    if (!visible(item) || !shows(item)) continue;
    const x = X(item.t), y = AXIS + item.row * ROW, w = Math.max(X(item.end) - x, 0);
    ink.globalAlpha = alphaOf(item);
    if (w > 0) { ink.fillStyle = color("warn-soft"); ink.fillRect(x, y + 2, w, ROW - 4); ink.strokeStyle = color("warn"); ink.lineWidth = 1; ink.strokeRect(x + 0.5, y + 2.5, Math.max(w - 1, 1), ROW - 5); }
    else { ink.fillStyle = color("warn"); ink.fillRect(x - 1, y + 2, 2.5, ROW - 4); }
    text(item.name, Math.max(x, GUTTER) + 6, y + ROW / 2 + 0.5, color("ink"), ink.font);
  }
  ink.globalAlpha = 1;
}
const CURVE = ["produce", "group", "fetch", "dir", "ack", "bad"];
function drawCurves() {
  if (!partitions.length) return;
  const points = partitions.flatMap((p) => (run.watermarks[p] || []).concat(acked[p] || []));
  const low = curvesTop + CURVES, most = Math.max(1, ...points.map(([, v]) => v));
  const Y = (v) => low - (v / most) * (CURVES - 20);
  ink.strokeStyle = color("line"); ink.lineWidth = 1;
  for (const v of [0, most / 2, most]) { ink.beginPath(); ink.moveTo(GUTTER, Y(v)); ink.lineTo(width, Y(v)); ink.stroke(); }
  const curve = (of) => {
    let last = 0;
    ink.beginPath(); ink.moveTo(X(0), Y(0));
    for (const [t, v] of of) { ink.lineTo(X(t), Y(last)); ink.lineTo(X(t), Y(v)); last = v; }
    ink.lineTo(X(end), Y(last)); ink.stroke();
  };
  partitions.forEach((p, index) => {
    ink.strokeStyle = color(CURVE[index % CURVE.length]);
    if (acked[p]) { ink.globalAlpha = 0.6; ink.lineWidth = 1.1; ink.setLineDash([3, 3]); curve(acked[p]); ink.setLineDash([]); ink.globalAlpha = 1; }
    if (run.watermarks[p]) { ink.lineWidth = 1.8; curve(run.watermarks[p]); }
  });
}
function drawCurveNames() {
  if (!partitions.length) return;
  text("high watermark", 14, curvesTop + 14, color("ink"), `600 12.5px ${FACE}`);
  text("as fetched;", 14, curvesTop + 31, color("soft"), `11px ${FACE}`);
  text("dashed: acknowledged", 14, curvesTop + 45, color("soft"), `11px ${FACE}`);
  partitions.slice(0, 8).forEach((p, index) => {
    const x = 14 + (index % 2) * 56, y = curvesTop + 65 + Math.floor(index / 2) * 16, values = run.watermarks[p] || acked[p];
    ink.fillStyle = color(CURVE[index % CURVE.length]); ink.fillRect(x, y - 1, 10, 3);
    text(`${p}: ${values[values.length - 1][1]}`, x + 14, y, color("soft"), `11px ${FACE}`);
  });
}
function drawOracle() {
  const x = X(oracle.t);
  ink.strokeStyle = color("bad"); ink.lineWidth = 2;
  ink.beginPath(); ink.moveTo(x, 18); ink.lineTo(x, height); ink.stroke();
  ink.font = `600 11.5px ${FACE}`;
  const w = ink.measureText(oracle.name).width + 14, left = x + w > width - 4 ? x - w : x;
  ink.fillStyle = color("bad"); ink.fillRect(left, 4, w, 18);
  text(oracle.name, left + 7, 13.5, color("raised"), ink.font);
}
function drawSelected() {
  if (!visible(selected)) return;
  const { x, y } = place(selected);
  ink.strokeStyle = color("focus"); ink.lineWidth = 1.5;
  ink.beginPath(); ink.arc(x, y, 10, 0, 7); ink.stroke();
}

// --- zoom and pan ------------------------------------------------------------------------------
function show(from, to) {
  const span = Math.min(Math.max(to - from, 20), end * 1.04);
  const middle = (from + to) / 2;
  view.from = Math.max(-0.01 * end, Math.min(middle - span / 2, 1.03 * end - span));
  view.to = view.from + span;
  redraw();
}
function zoom(factor, t = (view.from + view.to) / 2) { show(t - (t - view.from) * factor, t + (view.to - t) * factor); }
function fit() { show(-0.01 * end, 1.03 * end); }
function pan(share) { const by = (view.to - view.from) * share; show(view.from + by, view.to + by); }
function resize() {
  width = $("stage").clientWidth;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  redraw();
}

// --- hits, details, list -----------------------------------------------------------------------
function toSegment(px, py, ax, ay, bx, by) {
  const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
  const share = length ? Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length)) : 0;
  return Math.hypot(px - ax - share * dx, py - ay - share * dy);
}
const WEIGHT = { death: 0.5, fault: 0.6, life: 0.6, bad: 0.6, ack: 0.8, learnt: 0.9 };
function distance(item, px, py) {
  if (item.message) return Math.min(...segments(item.message).map(([a, b]) => toSegment(px, py, X(a[0]), a[1], X(b[0]), b[1]))) + 1.5;
  const { x, y } = place(item);
  if (item.oracle) return Math.abs(px - x) + 2;
  if (item.window) {
    const inside = px >= X(item.t) - 4 && px <= Math.max(X(item.end), X(item.t) + 6 + (item.window.kind === "fault" ? 6 * item.name.length : 0));
    if (item.window.kind === "fault") return inside && Math.abs(py - y) < ROW / 2 ? 1 : 99;
    return inside && py > tops[item.lane] && py < tops[item.lane] + heights[item.lane] ? 7 : 99;
  }
  if (item.event.k === "calm") return Math.abs(px - x) + 3;
  return Math.hypot(px - x, (py - y) * (item.event.k in DISK ? 0.6 : 1)) * (WEIGHT[item.kind] || 1);
}
function hit(px, py) {
  let best = null, near = 8;
  if (px < GUTTER - 6) return null;
  for (const item of items) {
    if (!visible(item) || !shows(item) || (filter && !item.on)) continue;
    const far = distance(item, px, py);
    if (far < near) { near = far; best = item; }
  }
  return best;
}
function legs(m) {
  const [t0, t1, t2, t3] = m.t, of = (t) => (t === null ? "never" : `${seconds(t)} s`), took = (a, b) => (a === null || b === null ? "" : ` (+${((b - a) / 1000).toFixed(3)} ms)`);
  return [["sent", of(t0)], [`at the ${who(m.s)}`, of(t1) + took(t0, t1)], ["answer left", of(t2) + took(t1, t2)], ["answered", of(t3) + took(t2, t3)]];
}
function details(item) {
  const facts = [["node", who(item.lane)]];
  if (item.message) {
    const m = item.message;
    facts.push(...legs(m), ["correlation", m.d[0]], ["bytes", m.t[3] === null ? m.d[1] : `${m.d[1]}, answer ${m.d[2]}`], ["request", m.x]);
    if (m.y) facts.push(["answer", m.y]);
  } else {
    facts.push(["when", `${seconds(item.t)} s`]);
    if (item.end > item.t) facts.push(["until", `${seconds(item.end)} s (${((item.end - item.t) / 1000).toFixed(3)} ms)`]);
    if (item.text) facts.push(["what", item.text]);
    if (item.window && item.window.nodes.length > 1) facts.push(["nodes", item.window.nodes.map(who).join(", ")]);
    if (item.event) {
      const [target, offset, length, result] = item.event.d;
      facts.push(["numbers", `target ${target}, offset ${offset}, length ${length}, result ${result}`]);
    }
  }
  return facts;
}
function element(tag, className, content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}
function select(item, reveal) {
  selected = item;
  const box = $("details");
  box.replaceChildren();
  if (item) {
    box.append(element("h3", "", item.name));
    const table = element("dl");
    for (const [name, value] of details(item)) table.append(element("dt", "", name), element("dd", name === "request" || name === "answer" || name === "what" ? "mono" : "", value));
    box.append(table);
    box.dataset.shown = item.name;
    if (reveal) {
      const span = Math.min(view.to - view.from, end / 12);
      if (item.t < view.from || item.t > view.to || span < view.to - view.from) show(item.t - span / 2, item.t + span / 2);
    }
  }
  for (const row of $("list").children) row.classList.toggle("on", listed[row.dataset.at] === item);
  redraw();
}
let listed = [];
function fill(title, wanted) {
  const most = 400;
  listed = wanted.slice(0, most);
  $("list-title").textContent = title + (wanted.length > most ? ` (the first ${most} of ${count(wanted.length)})` : "");
  const list = $("list");
  list.replaceChildren();
  listed.forEach((item, at) => {
    const row = element("li", item.kind);
    row.dataset.at = at;
    row.append(element("span", "when", `${seconds(item.t, 4)} s`), element("span", "who", who(item.lane)), element("span", "what", item.name), element("span", "text", item.text));
    row.title = item.text;
    row.addEventListener("click", () => select(item, true));
    list.append(row);
  });
}
function applyFilter() {
  filter = $("filter").value.trim().toLowerCase();
  const words = filter.split(/\s+/).filter(Boolean);
  const found = [];
  for (const item of items) {
    item.on = words.every((word) => item.search.includes(word));
    if (filter && item.on) found.push(item);
  }
  $("matches").textContent = filter ? `${count(found.length)} found` : "";
  if (filter) fill("What the filter finds", found);
  else if (run.failed) {
    fill("What led to it", run.led.map((at) => ofEvent[at]).concat(oracle));
    // The end is the beginning of the search.
    $("list").scrollTop = $("list").scrollHeight;
  }
  else fill("What became of nodes", ofEvent.filter((item) => ["life", "death", "fault"].includes(item.kind)));
  redraw();
}
function step(by) {
  const among = listed.length ? listed : items, at = among.indexOf(selected);
  select(among[at < 0 ? (by > 0 ? 0 : among.length - 1) : (at + by + among.length) % among.length], true);
  const row = $("list").querySelector(".on");
  if (row) row.scrollIntoView({ block: "nearest" });
}

// --- the mouse and the keys --------------------------------------------------------------------
let drag = null;
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) pan((event.deltaX || event.deltaY) / width);
  else zoom(Math.exp(event.deltaY * 0.0016), T(event.offsetX));
}, { passive: false });
canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.offsetX, from: view.from, to: view.to, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (drag) {
    const by = ((drag.x - event.offsetX) / (width - GUTTER - RIGHT)) * (drag.to - drag.from);
    drag.moved = drag.moved || Math.abs(drag.x - event.offsetX) > 3;
    if (drag.moved) { canvas.classList.add("drag"); $("tip").hidden = true; show(drag.from + by, drag.to + by); }
    return;
  }
  hover(event.offsetX, event.offsetY);
});
canvas.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) select(hit(event.offsetX, event.offsetY), false);
  drag = null;
  canvas.classList.remove("drag");
});
canvas.addEventListener("pointerleave", () => { hovered = null; $("tip").hidden = true; redraw(); });
canvas.addEventListener("dblclick", fit);
function hover(x, y) {
  const item = hit(x, y), tip = $("tip");
  if (item !== hovered) { hovered = item; redraw(); }
  canvas.classList.toggle("hit", Boolean(item));
  tip.hidden = !item;
  if (!item) return;
  const took = item.message && item.message.t[3] !== null ? `, answered in ${((item.message.t[3] - item.message.t[0]) / 1000).toFixed(2)} ms` : item.message ? ", no answer" : "";
  tip.replaceChildren(element("b", "", item.name), document.createTextNode(` ${who(item.lane)}`), element("div", "when", `${seconds(item.t)} s${took}`));
  if (item.text) tip.append(element("div", "", item.text.length > 170 ? `${item.text.slice(0, 170)}…` : item.text));
  tip.style.left = `${Math.max(4, Math.min(x + 14, width - tip.offsetWidth - 6))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 16, height - tip.offsetHeight - 6))}px`;
}
const KEYS = { "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6), ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15), 0: fit, j: () => step(1), k: () => step(-1), Escape: () => select(null) };
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) {
    if (event.target.tagName === "INPUT" && event.key === "Enter") step(event.shiftKey ? -1 : 1);
    return;
  }
  if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
});

// --- the frame around it -----------------------------------------------------------------------
function theme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  palette = {};
  legend();
  redraw();
}
function legend() {
  const present = new Set(items.map((item) => item.kind));
  $("legend").replaceChildren(...Object.entries(KINDS).filter(([kind]) => present.has(kind)).map(([kind, { label, paint }]) => {
    const button = element("button"), sample = element("canvas");
    sample.width = sample.height = 16 * devicePixelRatio;
    const c = sample.getContext("2d");
    c.scale(devicePixelRatio, devicePixelRatio);
    paint(c, 8, 8);
    button.append(sample, label);
    button.dataset.kind = kind;
    button.setAttribute("aria-pressed", String(!hidden.has(kind)));
    button.addEventListener("click", () => { if (!hidden.delete(kind)) hidden.add(kind); legend(); redraw(); });
    return button;
  }));
}
$("seed").textContent = run.title;
document.title = `${run.title}: ${run.failed ? run.failed.text : "ok"}`;
$("verdict").textContent = run.failed ? run.failed.kind : run.plan === null ? "record" : "ok";
$("verdict").classList.toggle("bad", Boolean(run.failed));
$("facts").textContent = run.facts;
if (run.failed) {
  const [name] = run.failed.text.split(":");
  $("failure").hidden = false;
  $("failure").append(element("b", "", name), run.failed.text.slice(name.length), ` (at ${seconds(run.failed.at)} s)`);
}
if (run.left_out.length) {
  $("cut").hidden = false;
  $("cut").textContent = `Not drawn, for there are too many: ${run.left_out.join("; ")}. ${run.plan === null ? "The record has them all" : "cargo sim … --trace prints all"}.`;
}
$("plan").hidden = run.plan === null;
$("plan").querySelector("pre").textContent = `${run.reproduce}\n\n${JSON.stringify(run.plan, null, 2)}`;
$("fit").addEventListener("click", fit);
$("zoom-in").addEventListener("click", () => zoom(0.6));
$("zoom-out").addEventListener("click", () => zoom(1.6));
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("filter").addEventListener("input", applyFilter);
const dark = matchMedia("(prefers-color-scheme: dark)");
$("theme").addEventListener("click", () => theme(!document.documentElement.classList.contains("dark")));
dark.addEventListener("change", () => theme(dark.matches));
new ResizeObserver(resize).observe($("stage"));
resize();
fit();
theme(dark.matches);
applyFilter();
// For scripts: where on the page something is drawn.
window.timeline = {
  items, view,
  placeOf(item) { const box = canvas.getBoundingClientRect(), { x, y } = place(item); return [box.left + x, box.top + y]; },
};
