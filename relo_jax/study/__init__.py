"""Studies: questions about how RELO learns, each asked of a few small trainings that differ in one thing."""
