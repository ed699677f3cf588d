// Draws on a frame: the box, its score, and where the policy looks (relo_jax/media/overlay.py in JavaScript).

export const FOUND = "#3cdc64";
export const LOST = "#ffaa28";
const INFERNO = [
  [0, 0, 4], [11, 7, 36], [33, 12, 74], [61, 9, 101], [87, 16, 110], [113, 25, 110], [138, 34, 106], [163, 44, 97],
  [188, 55, 84], [208, 69, 69], [227, 89, 51], [241, 113, 31], [249, 140, 10], [252, 170, 15], [249, 201, 50],
  [242, 232, 101], [252, 255, 164],
];
const DARKEST = 0.3; // where the colours begin on the map, whose dark end would look like a shadow
const CONTRAST = 0.25; // probability, over the uniform policy's, from which the colours grow with its logarithm
const STRONGEST = 0.8; // share of the colour at a certain cell: the picture stays visible under it

// `scale` is pixels of the canvas over pixels of the frame.
export function drawBox(context, scale, [x, y, w, h], isFound, label) {
  const [left, top, width, height] = [x, y, w, h].map((v) => v * scale);
  const line = Math.max(2, Math.min(context.canvas.width / 320, Math.min(width, height) / 8));
  context.lineJoin = "round";
  for (const [colour, thick] of [["rgb(0 0 0 / 60%)", line + 2], [isFound ? FOUND : LOST, line]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: thick });
    context.strokeRect(left, top, width, height);
  }
  if (label) drawLabel(context, left, top, height, line, isFound ? FOUND : LOST, label);
}

function drawLabel(context, left, top, height, line, colour, text) {
  const size = Math.max(13 * devicePixelRatio, context.canvas.width / 60);
  context.font = `600 ${size}px ui-sans-serif, system-ui, sans-serif`;
  const [wide, high] = [context.measureText(text).width + size * 0.8, size * 1.5];
  const x = Math.min(Math.max(left - line / 2, 0), context.canvas.width - wide);
  const above = top - high - line;
  const y = above >= 0 ? above : Math.min(top + height + line, context.canvas.height - high);
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y, wide, high, size * 0.3);
  context.fill();
  Object.assign(context, { fillStyle: "#08110b", textBaseline: "middle" });
  context.fillText(text, x + size * 0.4, y + high / 2 + size * 0.05);
}

// A rectangle that is being drawn: the rest of the frame is darker.
export function drawSelection(context, scale, box) {
  const [x, y, w, h] = box.map((v) => v * scale);
  const { width, height } = context.canvas;
  context.fillStyle = "rgb(0 0 0 / 45%)";
  context.beginPath();
  context.rect(0, 0, width, height);
  context.rect(x, y, w, h);
  context.fill("evenodd");
  drawBox(context, scale, box, true);
}

let map = null;

// The policy [g, g] over its region. The scale is the same for all frames: clear where the probability is far below that
// of a uniform policy, purple where it equals it, bright yellow at a cell that has nearly all.
export function drawPolicy(context, scale, policy, [x, y, w, h]) {
  const grid = Math.round(Math.sqrt(policy.length));
  map ??= new OffscreenCanvas(grid, grid);
  const picture = new ImageData(grid, grid);
  const range = policy.length / CONTRAST;
  policy.forEach((probability, k) => {
    const strength = Math.log1p(probability * range) / Math.log1p(range);
    const place = (DARKEST + (1 - DARKEST) * strength) * (INFERNO.length - 1);
    const low = Math.min(Math.floor(place), INFERNO.length - 2);
    const mixed = INFERNO[low].map((v, c) => v + (INFERNO[low + 1][c] - v) * (place - low));
    picture.data.set([...mixed, 255 * STRONGEST * strength], 4 * k);
  });
  map.getContext("2d").putImageData(picture, 0, 0);
  Object.assign(context, { imageSmoothingEnabled: true, imageSmoothingQuality: "high" });
  context.drawImage(map, x * scale, y * scale, w * scale, h * scale);
  Object.assign(context, { strokeStyle: "rgb(255 255 255 / 55%)", lineWidth: Math.max(1, devicePixelRatio) });
  context.strokeRect(x * scale, y * scale, w * scale, h * scale);
}

// The scores of the frames as bars, green where the target was found; a line marks the threshold. Of more frames than the
// strip has pixels, one for each pixel is drawn.
//   results: a Map of index -> result; from, count: the frames that the strip is wide.
export function drawScores(canvas, results, from, count, current, threshold, colours) {
  const { width, height } = fit(canvas);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const bars = Math.min(count, width);
  for (let k = 0; k < bars; k++) {
    const result = results.get(from + Math.floor((k * count) / bars));
    if (!result) continue;
    context.fillStyle = result.found ? colours.found : colours.lost;
    const [left, right] = [k, k + 1].map((edge) => Math.round((edge * width) / bars)); // without seams
    const high = Math.max(result.score * height, 1);
    context.fillRect(left, height - high, Math.max(right - left, 1), high);
  }
  context.fillStyle = colours.line;
  context.globalAlpha = 0.25;
  context.fillRect(0, Math.round(height * (1 - threshold)), width, devicePixelRatio);
  context.globalAlpha = 1;
  context.fillRect(((current - from + 0.5) * width) / count - devicePixelRatio, 0, 2 * devicePixelRatio, height);
}

// Makes the canvas as many pixels large as it covers on the screen.
export function fit(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const [w, h] = [width, height].map((v) => Math.max(Math.round(v * devicePixelRatio), 1));
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  return canvas;
}
