"""What the host launches in a call of a GPU's program."""

from relo_jax.profiling.compiled import launches


def test_a_graph_is_one_launch_and_a_loop_drives_its_body(fixtures):
    text = (fixtures / "compiled" / "h100.thunks.txt").read_text()
    before_and_after, condition, body = 2 + 2, 1, 4
    found = launches.parse(text, [3])
    assert found == launches.Launches(graphs=1, outside=before_and_after + 4 * condition + 3 * body, loops=1)
    assert found.total == 21
    assert launches.parse(text).outside == before_and_after + 2 * condition + body, "a loop of unknown length: once"


def test_loops_inside_loops_multiply():
    text = (
        "001: kWhile [source]\ncondition:\n    002: kCustomKernel [source] a\n  body:\n    003: kWhile [source]\n"
        "    condition:\n        004: kCustomKernel [source] b\n      body:\n        000: kCommandBuffer [source]\n"
        "            005: kCustomKernel [source] c\n        006: kCuDnn [source] d\n007: kCopy [source] kCopy\n"
    )
    found = launches.parse(text, [2, 5])
    assert found.graphs == 2 * 5 and found.loops == 2
    assert found.outside == 3 + 2 * 6 + 2 * 5 + 1


def test_the_list_after_all_passes_is_read_if_there_is_one(tmp_path):
    assert launches.file(tmp_path) is None
    first = tmp_path / "module_0001.jit_f.thunk_sequence.txt"
    first.write_text("x")
    assert launches.file(tmp_path) == first
    last = tmp_path / "module_0001.jit_f.thunk_sequence_after_thunk_passes.txt"
    last.write_text("x")
    assert launches.file(tmp_path) == last
