"""A B256 of a few thousand parameters to rehearse with."""

MODEL = dict(width=16, depth=1, heads=2, head_width=8, search_size=64, template_size=32, temporal_tokens=2)
FIELDS = (
    *(f"--config.model.{name}={value}" for name, value in MODEL.items()), "--config.model.stem_blocks=(1,1)",
    "--config.rl.clip_length=2", "--config.data.workers=1",
)  # fmt: skip
