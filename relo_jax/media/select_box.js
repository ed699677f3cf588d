({ name, image, box }) => {
  const root = document.getElementById(name);
  const canvas = root.querySelector("canvas");
  const said = root.querySelector("output");
  const context = canvas.getContext("2d");
  const picture = new Image();
  let from = null;

  const draw = () => {
    const { width, height } = canvas;
    context.drawImage(picture, 0, 0);
    if (box) {
      const [x, y, w, h] = box;
      const line = Math.max(2, width / 320);
      context.fillStyle = "rgba(0, 0, 0, 0.45)"; // everything but the box
      context.beginPath();
      context.rect(0, 0, width, height);
      context.rect(x, y, w, h);
      context.fill("evenodd");
      context.lineWidth = line;
      context.strokeStyle = "#ffb000";
      context.strokeRect(x, y, w, h);
    }
    said.textContent = box ? "box = (" + box.join(", ") + ")" : "drag a box over the target";
  };
  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * canvas.width;
    const y = ((event.clientY - place.top) / place.height) * canvas.height;
    return [Math.min(Math.max(x, 0), canvas.width), Math.min(Math.max(y, 0), canvas.height)];
  };
  const tell = () => {
    const kernel = globalThis.google && google.colab && google.colab.kernel;
    if (kernel) {
      kernel.invokeFunction(name, box, {});
      return;
    }
    const field = document.querySelector("." + name + " input");
    if (field) {
      field.value = JSON.stringify(box);
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  };

  canvas.onpointerdown = (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    from = at(event);
  };
  canvas.onpointermove = (event) => {
    if (!from) return;
    const to = at(event);
    const low = [0, 1].map((k) => Math.round(Math.min(from[k], to[k])));
    const size = [0, 1].map((k) => Math.round(Math.abs(from[k] - to[k])));
    if (size[0] < 2 || size[1] < 2) return; // a click is no box
    box = [...low, ...size];
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (from && box) tell();
    from = null;
  };
  picture.onload = draw;
  picture.src = image;
}
