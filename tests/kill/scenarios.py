"""The commands that are killed: each with inputs of its own making, and the moments that matter most to it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "relo_tiny.pth.tar"
_TRAIN = {
    "model.width": 16, "model.depth": 1, "model.heads": 2, "model.head_width": 16, "model.search_size": 32,
    "model.template_size": 32, "warmup.search_frames": 1, "rl.clip_length": 2, "batch_size": 4, "total_steps": 6,
    "log_every": 1, "eval_every": 4, "eval_batches": 1, "checkpoint_every": 2, "keep_checkpoints": 3,
    "optimizer.warmup_steps": 0, "data.workers": 1, "data.procedural.num_frames": 24, "data.procedural.bank_size": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Watch:
    """A moment seen from outside: files of a pattern exist, together have a share of their final size, or lines."""

    pattern: str
    share: float = 0.0
    lines: int = 0

    def __str__(self) -> str:
        amount = f"{self.share:.0%} of its bytes" if self.share else f"{self.lines} lines" if self.lines else "there"
        return f"{self.pattern}: {amount}"


@dataclass(frozen=True)
class Scenario:
    """A command and its kill points.

    inputs: makes what the command reads, in the working directory; runs in a process of its own.
    aims: parts of the text of operations (see `processes.Operation`), before which the command is killed.
    watches: moments in the work of C++.
    prepare: makes the command's work small; called in its process.
    once: the command refuses to run again when it is done, as its output exists.
    """

    argv: tuple[str, ...]
    inputs: Callable[[], None] = lambda: None
    aims: tuple[str, ...] = ()
    watches: tuple[Watch, ...] = ()
    prepare: Callable[[], None] | None = None
    once: bool = False
    final: dict[str, str] = field(default_factory=dict)  # pattern of an unfinished file -> that of the finished one


def _relo(*argv: str) -> None:
    from relo_jax.commands import main

    if main.main(list(argv)):
        raise RuntimeError(f"relo {' '.join(argv)} failed")


def _train(stage: str, workdir: str, **more: object) -> tuple[str, ...]:
    fields = [f"--config.{name}={value}" for name, value in {**_TRAIN, **more}.items()]
    return ("train", "--config", f"tiny:{stage}", "--workdir", workdir, *fields)


def _golden() -> None:
    """A run directory with the small checkpoint of the golden numbers."""
    from relo_jax.checkpoints import load
    from relo_jax.checkpoints.pytorch import convert
    from relo_jax.model import RELO
    from tests.golden import FIELDS

    model = RELO.from_variant("tiny", **FIELDS)
    load.save_variables("given", model, convert.from_torch(CHECKPOINT, model), {"window_power": 1.0})


def _sequences() -> None:
    """Three sequences of eight frames."""
    from relo_jax.data import miniature

    for seed, name in enumerate(("ant", "bee", "cat")):
        boxes = miniature.walk(8, seed)
        miniature.write_frames(Path("sequences") / name / "img", boxes, seed=seed)
        (Path("sequences") / name / "groundtruth.txt").write_text(miniature.lines(boxes))


def _golden_and_sequences() -> None:
    _golden()
    _sequences()


def _warm() -> None:
    _relo(*_train("warmup", "runs/warm", **{"total_steps": 1}))


def _starter_run() -> None:
    from relo_jax import config
    from relo_jax.checkpoints import load, run_directory

    starter = load.load("starter-tiny")
    load.save_variables("given", starter.model, starter.variables)
    fields = config.to_dict(config.starter("rl"))
    run_directory.write_config("given", {**fields, "model": run_directory.read_config("given")["model"]})


def _quick_clips() -> None:
    """`relo calibrate` on short clips with absences."""
    from relo_jax.config.data_options import Options
    from relo_jax.data.synthetic.procedural import heldout
    from relo_jax.eval import calibrate

    easy = Options(num_frames=24, bank_size=24, absence=1.0, distractors=1, clutter=3, occlusion=0.0, fastest=0.08,
                   jump=0)  # fmt: skip
    calibrate.FRAMES = 24
    calibrate.procedural = lambda count, seed, frames=24: heldout(seed, count, easy)


def _results() -> None:
    """Result files of two trackers."""
    from relo_jax.data import miniature

    _sequences()
    for tracker, off in (("near", 1), ("far", 9)):
        Path(tracker).mkdir()
        for seed, name in enumerate(("ant", "bee", "cat")):
            boxes = miniature.walk(8, seed) + [off, 0, 0, 0]
            boxes[0, 0] -= off
            Path(tracker, f"{name}.txt").write_text(miniature.lines(boxes))


def _got10k_results() -> None:
    from tests.eval.results.test_pack import write_got10k

    write_got10k(Path("results"))


def _dataset() -> None:
    from relo_jax.data import miniature

    miniature.got10k(Path("GOT-10k"))


def _small_study() -> None:
    from relo_jax.study import runner
    from tests.study import tiny

    tiny.install(setattr, Path("start"))
    runner.run_study = functools.partial(runner.run_study, frames=4)


def _start_of_study() -> None:
    from tests.study import tiny

    tiny.write_start(Path("start"))


def _small_demo() -> None:
    from relo_jax.data.clips import pipeline  # noqa: F401  (imported before the recipe is replaced)
    from tests.study.test_demo import shrink

    shrink(setattr)


_SAFETENSORS = ("convert", str(CHECKPOINT), "out.safetensors", "--set", "heads=3", "--set", "templates=2")
_CHECKPOINTS = lambda run, step: (
    f"mkdir {run}/checkpoints/{step}.orbax-checkpoint-tmp",
    f"rename {run}/checkpoints/{step}",
    f"write {run}/metrics.jsonl",
)
SCENARIOS = {
    "warm-up": Scenario(
        _train("warmup", "runs/warm"),
        aims=_CHECKPOINTS("runs/warm", 4),
        watches=(
            Watch("runs/warm/checkpoints/2.orbax-checkpoint-tmp*", share=0.5),
            Watch("runs/warm/checkpoints/4"),
            Watch("runs/warm/metrics.jsonl", lines=3),
        ),
    ),
    "rl": Scenario(
        _train("rl", "runs/rl", init_from="runs/warm", keep_checkpoints=2),
        inputs=_warm,
        aims=(*_CHECKPOINTS("runs/rl", 4), "rmdir runs/rl/checkpoints/2"),
        watches=(
            Watch("runs/rl/checkpoints/2"),
            Watch("runs/rl/checkpoints/4.orbax-checkpoint-tmp*", share=0.5),
            Watch("runs/rl/checkpoints/6.orbax-checkpoint-tmp*"),
            Watch("runs/rl/metrics.jsonl", lines=5),
        ),
    ),
    "eval": Scenario(
        ("eval", "--checkpoint", "given", "--data-root", "sequences", "--out", "results", "--batch", "1"),
        inputs=_golden_and_sequences,
        aims=("rename results/ant.txt", "write results/.bee.unfinished.txt", "rename results/cat_score.txt"),
        watches=(Watch("results/ant.txt"),),
    ),
    "study": Scenario(
        ("study", "distance", "--seeds", "1", "--scale", "0.02", "--sequences", "2"),
        inputs=_start_of_study,
        prepare=_small_study,
        aims=("rename runs/study/arms/far/seed-0/rl/checkpoints", "rename runs/study/distance/study.json"),
        watches=(Watch("runs/study/arms/near/seed-0/evaluation/*/*.txt"),),
    ),
    "demo": Scenario(
        ("demo", "--full"),
        prepare=_small_demo,
        aims=("rename runs/demo-full/tracking.mp4", "rename runs/demo-full/demo.json", "rename runs/demo-full/report"),
        watches=(Watch("runs/demo-full/warmup/checkpoints/2"), Watch("runs/demo-full/checkpoints/3")),
    ),
    "convert": Scenario(
        ("convert", str(CHECKPOINT), "out", "--set", "heads=3", "--set", "templates=2"),
        aims=("rename out", "rename .out.unfinished/checkpoints/0"),
        watches=(Watch(".out.*.unfinished", share=0.5),),
        once=True,
    ),
    "convert to safetensors": Scenario(
        _SAFETENSORS, aims=("write", "rename"), watches=(Watch(".out.*.unfinished.safetensors", share=0.5),), once=True
    ),
    "export": Scenario(
        ("convert", "given", "out.safetensors"), inputs=_golden, aims=("write", "rename out"), once=True,
        watches=(Watch(".out.*.unfinished.safetensors", share=0.5),),
    ),
    "relo export": Scenario(
        ("export", "given", "out", "--precision", "float32,float16"), inputs=_golden, once=True,
        aims=("rename out", "write .out.unfinished/step.onnx", "write .out.unfinished/parity.npz",
              "write .out.unfinished/tracker.json"),
    ),
    "data build": Scenario(
        ("data", "build", "got10k", "--root", "GOT-10k", "--out", "built", "--split", "train", "--shard-mib", "0.02",
         "--no-tiles"),
        inputs=_dataset,
        aims=("rename built/got10k/frames", "rename built/got10k/sequences", "dataset_info.json"),
        watches=(
            Watch("built/got10k/.unfinished/*array_record*"),
            Watch("built/got10k/frames/*/*.array_record*"),
        ),
    ),
    "calibrate": Scenario(
        ("calibrate", "--checkpoint", "given", "--count", "12", "--seed", "3"),
        inputs=_starter_run,
        prepare=_quick_clips,
        aims=("rename given/config.json", "rename given/calibration.json", "write given/.config.unfinished.json"),
    ),
    "report": Scenario(
        ("report", "near", "far", "--data-root", "sequences", "--out", "report", "--resamples", "50"),
        inputs=_results,
        aims=("rename report/report.html", "rename report/report.json"),
        watches=(Watch("report/*.pdf"),),
    ),
    "pack": Scenario(
        ("pack", "got10k", "results", "--out", "packed.zip"),
        inputs=_got10k_results,
        aims=("write", "rename"),
        watches=(Watch(".packed.*.unfinished.zip", share=0.5),),
    ),
    "track": Scenario(
        ("track", "sequences/ant/img", "--box", "12,12,18,18", "--checkpoint", "given", "--save", "film.mp4", "--json",
         "boxes.json", "--txt", "boxes.txt", "--save-boxes", "boxes.csv", "--no-show"),
        inputs=_golden_and_sequences,
        aims=("rename film.mp4", "rename boxes.json", "rename boxes.csv"),
        watches=(Watch(".film.*.unfinished.mp4"), Watch(".boxes.*.unfinished.csv")),
    ),
}  # fmt: skip


def fresh(folder: Path, inputs: Path) -> Path:
    """An empty working directory with a copy of the inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    return folder
