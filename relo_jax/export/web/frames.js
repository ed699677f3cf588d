// Frames of a film, each exactly once and in order, and of a camera.
//
// A <video> alone cannot do that: it does not know how many frames there are, and when it plays it skips those for which
// there is no time. So Mediabunny reads the times of all frames out of the file, and the browser's decoder (WebCodecs)
// returns them one after the other. Every frame that comes is looked up by its time. A browser without WebCodecs, or a
// page that came by plain HTTP from another machine, seeks a <video> to each of the times, and checks what it shows.
//
// A picture is what comes out: {width, height, time, draw(context, width, height), pixels(), close()}, where `pixels`
// gives what pixels.js reads, for another thread. The next picture of a film is asked for by `next`.

import * as mediabunny from "./mediabunny.min.mjs";

const PLANES = ["I420", "NV12"];

export async function openFilm(blob, name, seeks = typeof VideoDecoder === "undefined") {
  const input = new mediabunny.Input({ source: new mediabunny.BlobSource(blob), formats: mediabunny.ALL_FORMATS });
  const track = await input.getPrimaryVideoTrack().catch(() => null);
  if (!track) throw new Error(`${name} is not a film that a browser can read: MP4, MOV, WebM and MKV are`);
  const times = await timesOf(track);
  if (times.length === 0) throw new Error(`${name} has no frames`);
  const about = { name, times, rate: rateOf(times), colour: await track.getColorSpace(), isLive: false };
  if (!seeks && (await track.canDecode())) return new Film(about, track);
  const video = await videoElement((element) => (element.src = URL.createObjectURL(blob)));
  if (!video.videoWidth) throw new Error(`this browser cannot decode ${name} (${track.codec ?? "unknown codec"})`);
  return new SoughtFilm(about, video);
}

async function timesOf(track) {
  const times = [];
  const packets = new mediabunny.EncodedPacketSink(track);
  for await (const packet of packets.packets(undefined, undefined, { metadataOnly: true })) times.push(packet.timestamp);
  return times.sort((a, b) => a - b).filter((time) => time >= 0); // earlier ones are cut away by the file itself
}

function rateOf(times) {
  return times.length > 1 ? (times.length - 1) / (times.at(-1) - times[0]) : 30;
}

// The index of the frame of that time, or -1.
function indexOf(times, time) {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time - 1e-4) low = middle + 1;
    else high = middle;
  }
  return Math.abs(times[low] - time) < 1e-4 ? low : -1;
}

class Film {
  constructor(about, track) {
    Object.assign(this, about, { sink: new mediabunny.VideoSampleSink(track), samples: null });
  }

  get length() {
    return this.times.length;
  }

  // Goes on with frame `index`; there may be none.
  async seek(index) {
    await this.samples?.return();
    this.samples = index < this.length ? this.sink.samples(this.times[index]) : null;
    this.expected = index;
  }

  // {index, picture} of the next frame that can be read, or null behind the last. The file names frames in between that
  // the decoder did not return: `index` passes them over.
  async next() {
    const { value: sample } = (await this.samples?.next()) ?? {};
    if (!sample) return null;
    const index = indexOf(this.times, sample.timestamp);
    if (index < this.expected) {
      sample.close();
      throw new Error(`the decoder returned the frame at ${sample.timestamp.toFixed(3)} s in place of frame ${this.expected}`);
    }
    this.expected = index + 1;
    return { index, picture: samplePicture(sample, this.colour) };
  }

  close() {
    this.samples?.return();
  }
}

// A picture of a decoded sample. What the file does not say of its colours, a VideoFrame guesses: so they come apart.
function samplePicture(sample, { matrix, fullRange }) {
  const frame = sample.toVideoFrame();
  const { rotation, timestamp: time } = sample;
  sample.close();
  const { width: columns, height: rows } = frame.visibleRect;
  const isTurned = rotation % 180 !== 0;
  const [width, height] = isTurned ? [rows, columns] : [columns, rows];
  const draw = (context, wide, high) => {
    context.save();
    context.translate(wide / 2, high / 2);
    context.rotate((rotation * Math.PI) / 180);
    const [w, h] = isTurned ? [high, wide] : [wide, high];
    context.drawImage(frame, -w / 2, -h / 2, w, h);
    context.restore();
  };
  const pixels = async () => {
    if (!PLANES.includes(frame.format)) return drawnPixels(draw, width, height);
    const data = new Uint8Array(frame.allocationSize());
    const layout = await frame.copyTo(data);
    const colours = { matrix, fullRange: fullRange ?? frame.colorSpace.fullRange };
    const planes = { data, layout, format: frame.format, width: columns, height: rows, rotation, colour: colours };
    return { pixels: planes, transfer: [data.buffer] };
  };
  return { width, height, time, draw, pixels, close: () => frame.close() };
}

function drawnPixels(draw, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  draw(canvas.getContext("2d"), width, height);
  const bitmap = canvas.transferToImageBitmap();
  return { pixels: { bitmap }, transfer: [bitmap] };
}

function bitmapPicture(bitmap, time) {
  const { width, height } = bitmap;
  const draw = (context, wide, high) => context.drawImage(bitmap, 0, 0, wide, high);
  return { width, height, time, draw, pixels: async () => drawnPixels(draw, width, height), close: () => bitmap.close() };
}

async function videoElement(load) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  const ready = new Promise((resolve) => (video.onloadeddata = video.onerror = resolve));
  load(video);
  await ready;
  return video;
}

// Seeks to each frame. A frame is shown when the browser presents one of its time.
class SoughtFilm {
  constructor(about, video) {
    Object.assign(this, about, { video, expected: 0, sought: null, shown: null });
  }

  get length() {
    return this.times.length;
  }

  async seek(index) {
    this.expected = index;
  }

  async next() {
    const index = this.expected++;
    if (index >= this.length) return null;
    const time = this.times[index];
    const until = this.times[index + 1] ?? time + 1 / this.rate;
    const shown = await this.show((time + until) / 2);
    if (shown < time - 1e-3 || shown >= until - 1e-3)
      throw new Error(`the browser showed the frame at ${shown.toFixed(3)} s in place of that at ${time.toFixed(3)} s`);
    return { index, picture: bitmapPicture(await createImageBitmap(this.video), time) };
  }

  // Returns the time of the frame that is shown after seeking to a time.
  async show(time) {
    const { video } = this;
    if (time === this.sought) return this.shown; // the browser would present nothing, and say nothing
    const presented = new Promise((resolve) => video.requestVideoFrameCallback((now, { mediaTime }) => resolve(mediaTime)));
    video.currentTime = this.sought = time;
    return (this.shown = await presented);
  }

  close() {
    URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
  }
}

export async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("a page has the camera only by https, or from this machine itself");
  const wanted = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false }).catch((error) => {
    throw new Error(error.name === "NotFoundError" ? "there is no camera" : `the camera cannot be used (${error.message})`);
  });
  const video = await videoElement((element) => (element.srcObject = stream));
  await video.play();
  return new Camera(video, stream);
}

// The newest frame each time: those that come meanwhile are dropped, and have no number.
class Camera {
  constructor(video, stream) {
    Object.assign(this, { name: "camera", isLive: true, length: Infinity, count: 0, video, stream });
    this.rate = stream.getVideoTracks()[0].getSettings().frameRate ?? 30;
  }

  // The next frame gets the number `index`.
  async seek(index) {
    this.count = index;
  }

  async next() {
    await new Promise((resolve) => this.video.requestVideoFrameCallback(resolve));
    return { index: this.count++, picture: bitmapPicture(await createImageBitmap(this.video), performance.now() / 1000) };
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
  }
}
