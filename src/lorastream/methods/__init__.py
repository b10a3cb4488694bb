"""One method a file: a class with the three hooks, named by the file; a preset is a file of options in `presets`."""

from __future__ import annotations

from lorastream.methods.catalogue import build, load_class, names, preset_training, summary

__all__ = ["build", "load_class", "names", "preset_training", "summary"]
