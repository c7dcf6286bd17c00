"""Where steps run: one file per engine."""
