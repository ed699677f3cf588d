"""`pip install relo-jax`, without extras: tracking works, and what needs more says what."""

import json


def test_the_example_is_tracked_and_drawn(run, tmp_path):
    done = run("relo", "track", "--example", "--heatmap", "--save", "a.mp4", "--json", "boxes.json")
    assert "frames/s" in done.stdout + done.stderr
    assert (tmp_path / "a.mp4").stat().st_size > 10_000 and json.loads((tmp_path / "boxes.json").read_text())


def test_python_tracks_it_too(run):
    code = "import relo_jax; path, box = relo_jax.example(); print(sum(1 for _ in relo_jax.track(path, box=box)))"
    assert int(run("python", "-c", code).stdout) > 10


def test_what_is_installed_is_what_tracking_needs(run):
    listed = run("python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check").stdout
    names = {package["name"].lower().replace("-", "_") for package in json.loads(listed)}
    assert "relo_jax" in names
    assert not names & {"grain", "matplotlib", "pyarrow", "tensorboardx", "tensorflow_datasets", "torch"}


def test_a_command_that_needs_more_says_which_extra(run):
    done = run("relo", "train", "--config", "tiny:rl", "--workdir", "x", status=1)
    assert done.stderr == 'relo: relo train needs grain, which is not installed: pip install "relo-jax[train]"\n'
