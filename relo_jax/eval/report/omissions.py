"""What of a comparison is not as it should be, in lines: what is left out, which files are wrong, what is odd."""

_NAMED = 5  # sequences in a line


def oddities(comparison):
    """Lines of text, the most important first; empty when all is well.

    Args:
      comparison: `comparison.Comparison`.
    """
    lines = list(comparison.benchmark.account())
    total = len(comparison.benchmark)
    if len(comparison.names) < total:
        lines.append(f"Compared are the {len(comparison.names)} of {total} sequences that all trackers have.")
    for label, entry in comparison.entries.items():
        if entry.absent:
            lines.append(f"{label}: no result for {len(entry.absent)} of {total} sequences: {_some(entry.absent)}")
    for label, entry in comparison.entries.items():
        lines += [f"{label}: {name} is left out: {reason}" for name, reason in entry.bad.items()]
    for label, entry in comparison.entries.items():
        if entry.extra:
            files = "1 file is" if len(entry.extra) == 1 else f"{len(entry.extra)} files are"
            lines.append(f"{label}: {files} of no sequence of this dataset, and not used: {_some(entry.extra)}")
    for label, entry in comparison.entries.items():
        of_note = {}
        for name, notes in entry.notes.items():
            for note in notes:
                of_note.setdefault(note, []).append(name)
        lines += [f"{label}: {_some(names)}: {note}" for note, names in of_note.items()]
    return lines


def _some(names):
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
