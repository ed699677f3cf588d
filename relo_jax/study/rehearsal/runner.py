"""`relo rehearse`: runs the steps in order, says after each how it went, and ends with the forecast.

A step that fails does not stop those that do not need it. Each writes its output to `WORKDIR/logs/`.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from relo_jax.checkpoints import provenance
from relo_jax.errors import UserError
from relo_jax.study.rehearsal import data, processes, results, training, weights
from relo_jax.study.rehearsal.forecast import forecast
from relo_jax.study.rehearsal.plan import STAGES, Plan, clips_for
from relo_jax.study.rehearsal.processes import StepFailed
from relo_jax.study.rehearsal.report import JSON_FILE, PAGE_FILE, terminal, write

OK, FAILED, SKIPPED = "ok", "failed", "not run"
_DEVICES = """
import json, jax
devices = jax.devices()
print(json.dumps({"count": len(devices), "kind": devices[0].device_kind, "platform": devices[0].platform}))
"""


@dataclass
class Done:
    """How a step went, and the commands that it ran."""

    name: str
    state: str = OK
    remark: str = ""
    seconds: float | None = None
    commands: list[str] = field(default_factory=list)


class Rehearsal:
    """A rehearsal in progress.

    Attributes:
      plan: what is rehearsed.
      done: name -> how each step went, in order.
      machine: count, kind and platform of the devices, as another process sees them.
      clips: of a step of each stage.
      rates: see `forecast`.
      peak: GiB of memory of the largest process, and its step.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.done: dict[str, Done] = {}
        self.machine: dict = {}
        self.clips: dict[str, int] = {}
        self.rates: dict[str, float] = {}
        self.peak = 0.0, ""
        self.data, self.cache = plan.workdir / "data", plan.workdir / "data_index"
        self.imagenet, self.released = plan.workdir / weights.IMAGENET_FILE, plan.workdir / weights.RELEASE_FILE
        self.converted, self.results = plan.workdir / "converted", plan.workdir / "results"
        (plan.workdir / "logs").mkdir()

    def steps(self) -> list[tuple[str, tuple[str, ...], Callable[[], str]]]:
        """Name of each step, the names of the steps that it needs, and what it does; that returns a remark."""
        own = [("your data", (), self._own_data)] if self.plan.data_root else []
        return [
            ("devices", (), self._devices),
            ("miniatures", (), lambda: data.write_miniatures(self.data)),
            ("data check", ("miniatures",), lambda: data.check_miniatures(self.data, self.cache)),
            *own,
            ("weights", (), self._weights),
            ("loader", ("devices", "miniatures"), self._loader),
            ("warm-up, killed", ("devices", "miniatures", "weights"), self._kill_warmup),
            ("warm-up, continued", ("warm-up, killed",), self._continue_warmup),
            ("RL stage", ("warm-up, continued",), self._rl),
            ("convert", ("weights",), self._convert),
            ("evaluate", ("miniatures", "RL stage"), self._evaluate),
            ("reproduce", ("miniatures", "convert"), self._reproduce),
            ("pack got10k", ("reproduce",), lambda: self._pack("got10k")),
            ("pack trackingnet", ("reproduce",), lambda: self._pack("trackingnet")),
        ]

    def run(self) -> None:
        """Runs all steps, with a line for each."""
        steps = self.steps()
        for number, (name, needs, action) in enumerate(steps, start=1):
            self.done[name] = done = Done(name)
            print(f"[{number:2} of {len(steps)}] {name:<20}", end="", flush=True)
            lacking = [need for need in needs if self.done[need].state != OK]
            if lacking:
                done.state, done.remark = SKIPPED, f"it needs: {', '.join(lacking)}"
            else:
                start = time.perf_counter()
                try:
                    done.remark = action()
                except Exception as error:  # later steps and the report must not be lost to any of them
                    done.state, done.remark = FAILED, self._why(name, error)
                done.seconds = round(time.perf_counter() - start, 1)
                if (peak := processes.peak_gib()) > self.peak[0]:
                    self.peak = peak, name
            seconds = "" if done.seconds is None else f"{done.seconds:.0f} s"
            print(f"{done.state:<8}{seconds:>6}  {done.remark}", flush=True)

    def _why(self, name: str, error: Exception) -> str:
        """What went wrong in a step, in one line; an error that nobody foresaw leaves its traceback in a log."""
        if isinstance(error, (UserError, OSError)):
            return str(error)
        log = self._log(f"{name} error".replace(" ", "_"))
        log.write_text(traceback.format_exc())
        return f"{type(error).__name__}: {error} (a bug in relo_jax, please report it with {log})"

    def _log(self, name: str) -> Path:
        return self.plan.workdir / "logs" / f"{name}.log"

    def _note(self, argv: list) -> list:
        """Notes a command as one of the current step's."""
        next(reversed(self.done.values())).commands.append(processes.shown(argv))
        return argv

    def _relo(self, log: str) -> Callable[[list], object]:
        return lambda argv: processes.relo(self._note(argv), self.plan.workdir, self._log(log))

    def _devices(self) -> str:
        log = self._log("devices")
        with open(log, "w") as output:
            status = processes.start([], self.plan.workdir, output, _DEVICES).wait()
        if status:
            raise StepFailed(processes.reason(log, status))
        self.machine = json.loads(log.read_text().strip().splitlines()[-1])
        self.machine["devices"] = f"{self.machine['count']} x {self.machine['kind']}"
        self.clips = clips_for(self.plan, self.machine["count"], self.machine["platform"])
        batches = f"batches of {self.clips['warmup']} in the warm-up, of {self.clips['rl']} in the RL stage"
        return f"{self.machine['devices']}: {batches}"

    def _own_data(self) -> str:
        assert self.plan.data_root is not None
        return data.check_own(self.plan.data_root, self.cache)

    def _weights(self) -> str:
        model = self.plan.model()
        weights.write_imagenet(self.imagenet, model)
        weights.write_released(self.released, model)
        return f"{self.imagenet.name} and {self.released.name}, of random numbers"

    def _loader(self) -> str:
        root = self.plan.data_root or self.data
        argv, rate = data.loader(self.plan, root, self.clips["warmup"], self._log("loader"))
        self._note(argv)
        self.rates["loader"] = rate
        return f"{rate:,.0f} clips/s of {'your data' if self.plan.data_root else 'the miniatures'}"

    def _warmup(self) -> list:
        return self._note(training.command(self.plan, "warmup", self.clips["warmup"], self.data, self.imagenet))

    def _kill_warmup(self) -> str:
        return training.kill_warmup(self.plan, self._warmup(), self._log("warmup"))

    def _continue_warmup(self) -> str:
        remark = training.continue_warmup(self.plan, self._warmup(), self._log("warmup_continued"))
        return f"{remark}; {self._rate('warmup')}"

    def _rl(self) -> str:
        argv = training.command(self.plan, "rl", self.clips["rl"], self.data, self.plan.workdir / "warmup")
        return f"{training.train(self.plan, self._note(argv), self._log('rl'))}; {self._rate('rl')}"

    def _rate(self, stage: str) -> str:
        self.rates[stage] = training.rate(self.plan.workdir / stage)
        return f"{self.rates[stage]:.3g} clips/s"

    def _convert(self) -> str:
        self._relo("convert")(results.convert_command(self.plan, self.released, self.converted))
        return f"{self.released.name} -> {self.converted.name}/"

    def _evaluate(self) -> str:
        out = self.results / "trained"
        self._relo("evaluate")(
            results.evaluate_command(self.plan.workdir / "rl", "lasot", self.data, out, self._batch())
        )
        return f"the trained checkpoint on LaSOT, {results.frames_in(out)} frames"

    def _batch(self) -> list:
        """On a CPU, a batch of one sequence: the benchmarks have few, and each size of a batch is compiled."""
        return ["--batch", 1] if self.machine.get("platform") == "cpu" else []

    def _reproduce(self) -> str:
        out = self.results / "released"
        remark = results.reproduce(self.plan, self.converted, self.data, out, self._batch(), self._relo("reproduce"))
        self.rates["evaluation"] = results.speed_in(out)
        return f"{remark}, {self.rates['evaluation']:.3g} a second"

    def _pack(self, server: str) -> str:
        folder = self.plan.workdir / "packs" / server
        return results.pack(server, self.results / "released" / server, self.data, folder, self._relo(f"pack_{server}"))

    def content(self) -> dict:
        """The content of `rehearsal.json`."""
        configs = {stage: self.plan.config(stage) for stage in STAGES}
        sizes = {stage: training.checkpoint_bytes(self.plan.workdir / stage) for stage in STAGES if stage in self.rates}
        return {
            "command": shlex.join(["relo", *sys.argv[1:]]),
            "variant": self.plan.variant,
            "data_root": None if self.plan.data_root is None else str(self.plan.data_root),
            "machine": self.machine,
            "clips": self.clips,
            "steps": [asdict(done) for done in self.done.values()],
            "rates": self.rates,
            "forecast": forecast(configs, self.plan.model().config.templates, self.rates, sizes),
            "peak_gib": self.peak[0],
            "peak_step": self.peak[1],
            "workdir_bytes": training.size_of(self.plan.workdir),
            "session": provenance.session(),
        }


def rehearse(plan: Plan) -> dict:
    """Rehearses, prints a line for each step and the forecast, and writes `rehearsal.json` and `rehearsal.md`.

    Returns:
      The content of `rehearsal.json`.

    Raises:
      UserError: at the end, if steps failed.
    """
    start = time.perf_counter()
    print(f"a rehearsal of {plan.variant} in {plan.workdir}", flush=True)
    rehearsal = Rehearsal(plan)
    with processes.ended_together():
        rehearsal.run()
    content = rehearsal.content() | {"seconds": round(time.perf_counter() - start, 1)}
    write(plan.workdir, content)
    print(
        f"\n{terminal(content)}\n\n{content['seconds'] / 60:.1f} minutes, at most {content['peak_gib']:.1f} GiB of "
        f"memory a process ({content['peak_step']}); written to {plan.workdir}: {PAGE_FILE}, {JSON_FILE}, logs/"
    )
    bad = [done for done in rehearsal.done.values() if done.state != OK]
    if bad:
        first = next(done for done in bad if done.state == FAILED)
        raise UserError(
            f"{len(bad)} of {len(rehearsal.done)} steps failed or were not run, the first: {first.name}: {first.remark}"
        )
    return content
