// The tracker: relo_track.py in JavaScript, on onnxruntime-web.

import { boxFromCrop, boxInOwnCrop, clip, cut, firstWindow, patchOf, windowOf } from "./crop.js";

const FORMAT = 1; // of tracker.json
const GRAPHS = { webgpu: ["float16", "float32"], wasm: ["float32", "int8", "float16"] }; // the first that is there

// Loads an exported tracker.
//   base: URL of the folder.
//   backend: "webgpu" or "wasm".
//   threads: of WebAssembly.
//   told: called with (bytes loaded, bytes in all) while it loads.
export async function loadTracker(base, backend, threads, told) {
  const config = await (await get(new URL("tracker.json", base))).json();
  if (config.format !== FORMAT) throw new Error(`tracker.json has format ${config.format}, and this page reads ${FORMAT}: export it again`);
  const half = backend !== "webgpu" || (await navigator.gpu.requestAdapter()).features.has("shader-f16");
  const precision = GRAPHS[backend].find((name) => config.graphs[name] && (half || name !== "float16"));
  if (!precision) throw new Error(`there is no graph for ${backend}, only ${Object.keys(config.graphs).join(", ")}`);
  const ort = await import(backend === "webgpu" ? "./ort.webgpu.min.mjs" : "./ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const { step, template } = config.graphs[precision];
  const files = await download(base, [step, template], told);
  const open = ({ file, data }) =>
    ort.InferenceSession.create(files.get(file), {
      executionProviders: [backend],
      externalData: data ? [{ path: data.file, data: files.get(data.file) }] : [],
    });
  return new Tracker(config, precision, { step: await open(step), template: await open(template) }, ort.Tensor);
}

class Tracker {
  constructor(config, precision, sessions, Tensor) {
    Object.assign(this, { config, precision, sessions, Tensor });
  }

  // Begins a film. read: see pixels.js; size: [width, height] of the frame; box: x, y, w, h in pixels.
  async init(read, size, box) {
    const { config } = this;
    const window = firstWindow(box, config.template_factor);
    const template = await this.encode(read, size, window, boxInOwnCrop(box, window[2], config.template_size, (v) => v));
    this.templates = Array(config.templates).fill(template);
    this.state = Object.entries(config.state).map(([name, shape]) => {
      const zeros = new Float32Array(shape.reduce((a, b) => a * b, 1));
      return [name, new this.Tensor("float32", zeros, shape)];
    });
    this.box = box.map(Math.fround);
    this.window = firstWindow(box, config.search_factor);
    this.frames = 0;
    this.level = 1;
    this.recent = Array(config.found_frames).fill(1);
  }

  // Finds the target in the next frame.
  async update(read, size) {
    const { config, window } = this;
    const search = cut(patch(read, window, size), window, size, config.search_size);
    const outputs = await this.sessions.step.run({
      search: new this.Tensor("uint8", search, [1, config.search_size, config.search_size, 3]),
      templates: this.joined(),
      first: new this.Tensor("bool", [this.frames === 0], [1]),
      ...Object.fromEntries(this.state),
    });
    const [response, score] = [outputs.response.data[0], outputs.score.data[0]];
    const box = clip(boxFromCrop([...outputs.box.data], this.box, window[2], config.search_size), ...size);
    if (![...box, score].every(Number.isFinite)) throw new Error("the network's box is not finite: are its weights?");
    this.box = box;
    this.window = windowOf(box, config.search_factor);
    this.state = this.state.map(([name]) => [name, outputs[`new_${name}`]]);
    this.frames += 1;
    const isDue = config.update_interval && this.frames % config.update_interval === 0;
    if (isDue && response > Math.fround(config.update_threshold)) await this.renew(read, size);
    const [x, y, side] = window;
    const policy = Float32Array.from(outputs.policy.data);
    return { box, score, found: this.isFound(score), response, policy, region: [x, y, side, side] };
  }

  async renew(read, size) {
    const window = windowOf(this.box, this.config.template_factor);
    const box = boxInOwnCrop(this.box, window[2], this.config.template_size);
    this.templates = [this.templates[0], await this.encode(read, size, window, box)];
  }

  // Changes only when `found_frames` scores in a row lie on the other side of the threshold.
  isFound(score) {
    this.recent = [...this.recent.slice(1), score];
    this.level = Math.min(Math.max(this.level, Math.min(...this.recent)), Math.max(...this.recent));
    return this.level >= this.config.found_threshold;
  }

  async encode(read, size, window, box) {
    const side = this.config.template_size;
    const image = cut(patch(read, window, size), window, size, side);
    const outputs = await this.sessions.template.run({
      image: new this.Tensor("uint8", image, [1, side, side, 3]),
      box: new this.Tensor("float32", box, [1, 4]),
    });
    return outputs.template;
  }

  joined() {
    const [, tokens, width] = this.templates[0].dims;
    const all = new Float32Array(this.templates.length * tokens * width);
    this.templates.forEach((template, slot) => all.set(template.data, slot * tokens * width));
    return new this.Tensor("float32", all, [1, this.templates.length * tokens, width]);
  }
}

function patch(read, window, size) {
  const place = patchOf(window, ...size);
  return place && read(...place);
}

async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname.split("/").pop()} cannot be loaded (${response.status} ${response.statusText})`);
  return response;
}

// The graphs and their external data, by name; checked against tracker.json where the browser can: it has no hashes on a
// page that came by plain HTTP from another machine.
async function download(base, graphs, told) {
  const entries = graphs.flatMap((graph) => (graph.data ? [graph, graph.data] : [graph]));
  const responses = await Promise.all(entries.map(({ file }) => get(new URL(file, base))));
  const total = responses.reduce((sum, one) => sum + Number(one.headers.get("Content-Length")), 0);
  const files = new Map();
  let loaded = 0;
  for (const [k, { file, sha256 }] of entries.entries()) {
    const chunks = [];
    const reader = responses[k].body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      chunks.push(part.value);
      told((loaded += part.value.length), total);
    }
    const content = new Uint8Array(await new Blob(chunks).arrayBuffer());
    if (crypto.subtle && (await hash(content)) !== sha256)
      throw new Error(`${file} does not belong to the tracker.json beside it: copy the whole folder again`);
    files.set(file, content);
  }
  return files;
}

async function hash(content) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
