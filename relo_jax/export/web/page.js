// The page: a film or the camera, a box drawn into it, and what the tracker says, frame by frame.
//
// Everything that takes a frame runs in turn (`inTurn`), so that no frame is taken twice or passed over, whatever is
// pressed meanwhile.

import { drawBox, drawPolicy, drawScores, drawSelection, fit } from "./draw.js";
import { openCamera, openFilm } from "./frames.js";
import { isolate } from "./isolate.js";
import { hasWebGPU, startTracker, threadsHere } from "./remote.js";
import { asCsv, asJson, download } from "./results.js";

const RECENT = 30; // frames over which the speed is taken
const STRIP = 300; // frames of a camera in the strip of scores
const SMALLEST = 4; // pixels of the film; a smaller box is a click

const $ = (id) => document.getElementById(id);
const options = new URLSearchParams(location.search); // ?backend=wasm, ?threads=1, ?seek=1
const view = $("view");

let tracker = null; // a promise of it
let config = null; // tracker.json
let film = null;
let picture = null; // the frame that is shown
let index = 0; // its number
let last = null; // the last frame that was tracked; null before there is a box
let results = new Map(); // by frame
let drawn = null; // the box that is being drawn
let asksForBox = false; // another one, by the button
let isRunning = false;
let job = 0; // of the loop that takes frames; another number ends it
let times = { frames: [], tracker: [] }; // of the last frames, milliseconds

// Work that waits for what was begun before it. Resolves to whether it succeeded.
let turn = Promise.resolve();
function inTurn(work) {
  turn = turn.then(work).then(() => true, complain);
  return turn;
}

function stop() {
  isRunning = false;
  job += 1;
}

function complain(error) {
  stop();
  $("message").textContent = error.message ?? String(error);
  $("message").hidden = false;
  show();
  return false;
}

// ---- The tracker

async function load(backend, threads) {
  const engine = $("engine");
  engine.dataset.state = "loading";
  engine.textContent = "loading";
  const told = (loaded, total) => {
    const of = total >= loaded ? ` of ${inMegabytes(total)}` : "";
    engine.textContent = total === loaded ? "starting" : `loading ${inMegabytes(loaded)}${of} MB`;
  };
  const started = await startTracker(backend, threads, told);
  config = started.config;
  const many = threads === 1 ? "1 thread" : `${threads} threads`;
  engine.textContent = backend === "webgpu" ? `WebGPU, ${started.precision}` : `WebAssembly, ${many}`;
  engine.title = crossOriginIsolated ? "" : "The page is not isolated by its host, so that it has one thread.";
  engine.dataset.state = "ready";
  const { checkpoint, search_size: side, calibrated } = config;
  $("about").textContent = `${checkpoint.name}, search region ${side} x ${side} pixels`;
  $("meaning").textContent = calibrated ? "score: probability that the box is right" : "score: not calibrated";
  return started;
}

const inMegabytes = (bytes) => (bytes / 1e6).toFixed(1);

function start(backend) {
  const threads = Number(options.get("threads")) || threadsHere();
  tracker = load(backend, threads);
  tracker.catch((error) => {
    Object.assign($("engine"), { textContent: "not loaded" });
    complain(error);
  });
}

// ---- The film

// A film by WebCodecs, or by seeking, as openFilm chooses.
const filmOf = (blob, name) => openFilm(blob, name, options.has("seek") || undefined);

async function open(opening, box = null) {
  $("message").hidden = true;
  stop();
  const isOpen = await inTurn(async () => {
    const opened = await opening();
    film?.close();
    film = opened;
    forget();
    $("app").dataset.live = film.isLive;
    $("timeline").max = film.isLive ? 0 : film.length - 1;
    await goTo(0);
  });
  if (isOpen && box) await begin(box);
  else if (film?.isLive && last === null) watch();
}

function forget() {
  results = new Map();
  last = null;
  asksForBox = false;
  times = { frames: [], tracker: [] };
}

// Shows a frame; of a camera the newest.
async function goTo(number) {
  await film.seek(number);
  take(await film.next());
  show();
}

function take(got) {
  if (got === null) return;
  picture?.close();
  ({ picture, index } = got);
}

// Shows the camera until a box is begun.
async function watch() {
  const mine = ++job;
  while (mine === job) await inTurn(() => mine === job && goTo(0));
}

// ---- Tracking

async function begin(box) {
  stop();
  asksForBox = false;
  const hasBegun = await inTurn(async () => {
    await (await tracker).init(picture, { box });
    for (const number of [...results.keys()]) if (number >= index) results.delete(number);
    last = index;
    results.set(index, { time: picture.time, box, score: 1, found: true, carried: false });
    times = { frames: [], tracker: [] };
    await film.seek(index + 1);
  });
  if (hasBegun) run();
}

// One frame more; false behind the last one.
async function step() {
  if (last === null || last === film.length - 1) return false;
  if (index !== last) await film.seek(last + 1);
  const got = await film.next();
  if (got === null) {
    carry(film.length);
    return false;
  }
  const result = await update(got);
  carry(got.index);
  take(got);
  keep(times.tracker, result.milliseconds);
  if (film.isLive) results.set(last, withoutPolicy(results.get(last)));
  results.set(index, { ...result, time: picture.time, carried: false });
  last = index;
  show();
  return true;
}

// The result of a frame; if that fails, the frame comes again.
async function update(got) {
  try {
    return await (await tracker).update(got.picture);
  } catch (error) {
    got.picture.close();
    await film.seek(got.index);
    throw error;
  }
}

// Carries the last box over the frames before `end`, which could not be decoded.
function carry(end) {
  const { box } = results.get(last);
  while (last + 1 < end) results.set(++last, { time: film.times[last], box, score: 0, found: false, carried: true });
}

// What stays of a frame of a camera: it has no end, and its frames are not shown again.
const withoutPolicy = ({ time, box, score, found, carried }) => ({ time, box, score, found, carried });

function keep(list, value) {
  list.push(value);
  if (list.length > RECENT) list.shift();
}

// Tracks to the end or until it is paused, no faster than the film was taken.
async function run() {
  const mine = ++job;
  isRunning = true;
  show();
  for (let due = performance.now(); mine === job; ) {
    const begun = performance.now();
    let isThere = false;
    await inTurn(async () => (isThere = mine === job && (await step())));
    if (!isThere) break;
    due = Math.max(due + 1000 / film.rate, performance.now());
    if (!film.isLive) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    keep(times.frames, performance.now() - begun);
  }
  if (mine === job) pause();
}

function pause() {
  stop();
  show();
}

// ---- What is shown

function state() {
  if (film === null || picture === null) return "empty";
  if (last === null || asksForBox) return "box";
  return isRunning ? "running" : "paused";
}

function show() {
  $("app").dataset.state = state();
  if (picture === null) return;
  drawFrame();
  const result = results.get(index);
  const isFinite = !film.isLive;
  $("found").textContent = result ? (result.found ? "found" : "lost") : "no box yet";
  $("found").dataset.found = result ? result.found : "none";
  $("score").textContent = result ? result.score.toFixed(2) : "–";
  $("box").textContent = result ? [...result.box].map((v) => v.toFixed(1)).join("  ") : "–";
  $("speed").textContent = times.frames.length ? (1000 / mean(times.frames)).toFixed(1) : "–";
  $("cost").textContent = times.tracker.length ? median(times.tracker).toFixed(0) : "–";
  $("frame").textContent = isFinite ? `frame ${index} of ${film.length - 1}` : `frame ${index}`;
  const isAtEnd = isFinite && last === film.length - 1;
  $("play").textContent = isRunning ? "Pause" : "Track";
  $("play").disabled = last === null || (isAtEnd && !isRunning);
  $("step").disabled = last === null || isRunning || isAtEnd;
  $("csv").disabled = $("json").disabled = results.size === 0;
  $("timeline").value = index;
  drawStrip();
}

const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

function drawFrame() {
  view.style.setProperty("--aspect", picture.width / picture.height);
  const context = fit(view).getContext("2d");
  const scale = view.width / picture.width;
  picture.draw(context, view.width, view.height);
  const result = results.get(index);
  if (drawn) return drawSelection(context, scale, drawn);
  if (!result) return;
  if (result.policy && $("heatmap").checked) drawPolicy(context, scale, result.policy, result.region);
  drawBox(context, scale, result.box, result.found, result.score.toFixed(2));
}

function drawStrip() {
  const style = getComputedStyle($("scores"));
  const [found, lost, line] = ["--found", "--lost", "--ink"].map((name) => style.getPropertyValue(name));
  const from = film.isLive ? Math.max(index - STRIP + 1, 0) : 0;
  const count = film.isLive ? STRIP : film.length;
  drawScores($("scores"), results, from, count, index, config?.found_threshold, { found, lost, line });
}

// ---- The mouse and the finger

function pointAt(event) {
  const place = view.getBoundingClientRect();
  const x = ((event.clientX - place.left) / place.width) * picture.width;
  const y = ((event.clientY - place.top) / place.height) * picture.height;
  return [Math.min(Math.max(x, 0), picture.width), Math.min(Math.max(y, 0), picture.height)];
}

view.onpointerdown = (event) => {
  if (picture === null || event.button !== 0) return;
  event.preventDefault();
  view.setPointerCapture(event.pointerId);
  stop();
  const [x0, y0] = pointAt(event);
  view.onpointermove = (moved) => {
    const [x, y] = pointAt(moved);
    drawn = [Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0)];
    show();
  };
  view.onpointerup = view.onpointercancel = (up) => {
    const box = drawn;
    view.onpointermove = view.onpointerup = view.onpointercancel = drawn = null;
    if (up.type === "pointerup" && box && Math.min(box[2], box[3]) >= SMALLEST) begin(box);
    else if (film.isLive && last === null) watch();
    show();
  };
};

let wanted = null; // the frame that the slider asks for; those that it passes on the way are left out
$("timeline").oninput = ({ target }) => {
  stop();
  const isWaiting = wanted !== null;
  wanted = Number(target.value);
  if (isWaiting) return;
  inTurn(async () => {
    const number = wanted;
    wanted = null;
    await goTo(number);
  });
};

// ---- Buttons

$("play").onclick = () => (isRunning ? pause() : run());
$("step").onclick = () => inTurn(step);
$("redraw").onclick = () => {
  asksForBox = true;
  pause();
};
$("restart").onclick = async () => {
  stop();
  await inTurn(() => {
    forget();
    return goTo(0);
  });
  if (film?.isLive && last === null) watch();
};
$("other").onclick = () => {
  stop();
  inTurn(() => {
    film?.close();
    picture?.close();
    film = picture = null;
    forget();
    $("message").hidden = true;
    show();
  });
};
$("file").onchange = ({ target }) => {
  const file = target.files[0];
  if (file) open(() => filmOf(file, file.name));
  target.value = ""; // the same file may be chosen again
};
$("camera").onclick = () => open(openCamera);
$("heatmap").onchange = show;
$("backend").onchange = ({ target }) => {
  pause();
  // Behind the frame that is under way: a tracker that is stopped answers no more.
  inTurn(async () => {
    (await tracker.catch(() => null))?.stop();
    start(target.value);
  });
  $("restart").click();
};
$("csv").onclick = () => download(asCsv(results), `${nameOfFilm()}.csv`, "text/csv");
$("json").onclick = () => download(asJson(results, film.name, config.checkpoint.name), `${nameOfFilm()}.json`, "application/json");

const nameOfFilm = () => `${film.name.replace(/\.[^.]*$/, "")}_boxes`;

addEventListener("resize", show);
addEventListener("keydown", (event) => {
  if (event.target.closest("button, input, select, label") || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = { " ": "play", ".": "step", n: "redraw" }[event.key];
  if (!button || picture === null) return;
  event.preventDefault();
  if (!$(button).disabled) $(button).click();
});
document.querySelector("label.button").onkeydown = ({ key }) => [" ", "Enter"].includes(key) && $("file").click();

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer.files[0];
  if (file) open(() => filmOf(file, file.name));
});

// ---- The start

async function prepare() {
  await isolate();
  const folder = await (await fetch("page.json")).json(); // what the folder has
  const backends = folder.webgpu && (await hasWebGPU()) ? ["webgpu", "wasm"] : ["wasm"];
  const backend = backends.includes(options.get("backend")) ? options.get("backend") : backends[0];
  $("backend-field").hidden = backends.length === 1;
  $("backend").value = backend;
  start(backend);
  if (folder.example) {
    const { file, box } = folder.example;
    $("example").hidden = false;
    $("example").onclick = () => open(async () => filmOf(await (await fetch(file)).blob(), file), box);
  }
}

prepare().catch(complain);
