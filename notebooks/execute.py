"""Runs the notebooks from top to bottom; with `--write`, in full, and stores their outputs, small enough for a page.

python notebooks/execute.py                          # in the short mode that the tests run
python notebooks/execute.py --write relo_tpu.ipynb   # minutes on two cores
"""

import argparse
import base64
import io
import os
import re
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SHORT = "RELO_NOTEBOOK_SHORT"  # environment variable that the notebooks read
_SECONDS = 3600  # for a cell
_WIDEST, _COLOURS = 900, 64  # of stored pictures: pixels and colours
_WIDGET = "application/vnd.jupyter.widget-view+json"
_KEPT = ("text/plain", "text/html", "image/png")


def execute(path: Path, short: bool = True):
    """The notebook (an nbformat node) after every cell has run, in a new folder that is deleted.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell failed; the message has the cell and the traceback.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if name != SHORT} | ({SHORT: "1"} if short else {})
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=_SECONDS, resources={"metadata": {"path": folder}})
        client.execute(env=environment)
    return notebook


def shrink(notebook) -> None:
    """Replaces films by a frame of them and reports by a line, and stores pictures with few colours."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in map(_shrunk, cell.outputs) if output])


def _shrunk(output):
    if output.output_type == "stream":
        lines = [line.split("\r")[-1] for line in output.text.replace("\r\n", "\n").split("\n")]  # the last of a bar
        output.text = "\n".join(lines)
        return output if output.text.strip() else None
    data = output.get("data", {})
    if _WIDGET in data:
        return None  # of which only the state at the beginning would be left
    for kind in set(data) - set(_KEPT):
        del data[kind]
    if "image/png" in data:
        data["image/png"] = _small_png(data["image/png"])
    if "text/html" in data:
        page = re.sub(r"<video.*?base64,([^\"]+)\"></video>", _frame_of, data["text/html"], flags=re.DOTALL)
        page = re.sub(r"(data:image/png;base64,)([^\"]+)", lambda match: match[1] + _small_png(match[2]), page)
        data["text/html"] = re.sub(
            r"<iframe.*</iframe>", "<p><i>The report appears here.</i></p>", page, flags=re.DOTALL
        )
    return output if data or output.output_type == "error" else None


def _joined(outputs):
    """The outputs, with neighbouring parts of a stream as one."""
    joined = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def _small_png(data: str) -> str:
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    image.thumbnail((_WIDEST, _WIDEST))
    buffer = io.BytesIO()
    image.quantize(_COLOURS).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _frame_of(video: re.Match) -> str:
    """The middle frame of a video in a page."""
    import av

    with av.open(io.BytesIO(base64.b64decode(video[1]))) as container:
        frames = list(container.decode(video=0))
    picture = frames[len(frames) // 2].to_image()
    picture.thumbnail((420, 420))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    line = "<div><i>A frame of the film, which plays when the cell is run.</i></div>"
    return f'<img src="data:image/jpeg;base64,{data}">{line}'


def main() -> None:
    """Runs the notebooks that the command line names, or all."""
    import nbformat

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", help="names of files beside this one (default: all)")
    parser.add_argument("--write", action="store_true", help="run in full and store the outputs")
    args = parser.parse_args()
    for path in [FOLDER / Path(name).name for name in args.notebooks] or sorted(FOLDER.glob("*.ipynb")):
        notebook = execute(path, short=not args.write)
        if args.write:
            shrink(notebook)
            nbformat.write(notebook, path)
        print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells ran", flush=True)


if __name__ == "__main__":
    main()
