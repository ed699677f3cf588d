"""The network of the golden numbers: the variant `tiny` with these fields; its weights: fixtures/relo_tiny.pth.tar."""

FIELDS = dict(
    width=96, heads=3, stem_blocks=(1, 1), depth=3, temporal_tokens=2, search_size=128, template_size=64,
    head_width=64, templates=2,
)  # fmt: skip
