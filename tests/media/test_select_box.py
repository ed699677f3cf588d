"""A box is dragged over the first frame, by a browser's pointer, and comes back in pixels of the frame."""

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media.select_box import BoxSelection, select_box

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FRAMES = [np.full((90, 160, 3), level, np.uint8) for level in (40, 200)]
# The page is shown at half its size. What the kernel of Colab would get is written into the document.
DRAG = """
<div style="width: 80px">{page}</div><pre id="heard"></pre>
<script>
const heard = document.getElementById("heard");
{listen}
addEventListener("load", () => setTimeout(() => {{
  const canvas = document.querySelector("canvas");
  canvas.setPointerCapture = () => 0;
  const {{ left, top }} = canvas.getBoundingClientRect();
  for (const [kind, x, y] of [["down", 60, 30], ["move", 40, 20], ["move", 20, 10], ["up", 20, 10]])
    canvas.dispatchEvent(new PointerEvent("pointer" + kind, {{ clientX: left + x, clientY: top + y, pointerId: 1 }}));
}}, 50));
</script>
"""
COLAB = "globalThis.google = { colab: { kernel: { invokeFunction: (...all) => heard.append(JSON.stringify(all)) } } };"
FIELD = """
heard.insertAdjacentHTML("afterend", "<span class='NAME'><input></span>");
document.querySelector(".NAME input").oninput = ({ target }) => heard.append(target.value);
"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("listen", [COLAB, FIELD])
def test_a_drag_reaches_the_kernel(listen, tmp_path):
    selection = BoxSelection(FRAMES[0])
    page = tmp_path / "page.html"
    page.write_text(DRAG.format(page=selection.page(), listen=listen.replace("NAME", selection._name)))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --virtual-time-budget=2000 --dump-dom"
    command = [BROWSER, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    document = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    heard = json.loads(re.search("<pre id=.heard.>(.*?)</pre>", document)[1])
    if listen == COLAB:
        name, heard, _ = heard
        assert name == selection._name
    assert heard == [40, 20, 80, 40]
    assert "box = (40, 20, 80, 40)" in document
    selection._dragged(*heard)
    assert selection.box == (40.0, 20.0, 80.0, 40.0)


def test_colab_and_widgets_are_told_where_to_send_the_box(monkeypatch):
    selection, shown, callbacks = select_box(FRAMES, (1, 2, 3, 4)), [], {}
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=shown.append))
    output = SimpleNamespace(register_callback=lambda name, function: callbacks.update({name: function}))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))
    selection._ipython_display_()
    callbacks[selection._name](5, 6, 7, 8)
    assert selection.box == (5.0, 6.0, 7.0, 8.0) and len(shown) == 1 and '"box": [1.0, 2.0, 3.0, 4.0]' in shown[0]
    monkeypatch.delitem(sys.modules, "google.colab")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    selection._ipython_display_()
    assert len(shown) == 2 and '"box": [5.0, 6.0, 7.0, 8.0]' in shown[1]


def test_without_a_box_there_is_a_line_that_says_how_to_give_one():
    selection = select_box(FRAMES)
    with pytest.raises(UserError, match="no box is selected yet: drag one"):
        _ = selection.box
    with pytest.raises(UserError, match=r"box is \(1, 2, 0, 4\): give x, y, w, h with a width"):
        selection.box = (1, 2, 0, 4)
    with pytest.raises(UserError, match="box is 7: give four numbers"):
        select_box(FRAMES, 7)
    selection.box = (1, 2, 3, 4)
    assert selection.box == (1.0, 2.0, 3.0, 4.0)
    with pytest.raises(UserError, match="has no frames"):
        select_box([])
