"""One method a file; a file that defines a class with the three hooks is a method, and its name is the file's."""

from __future__ import annotations

from lorastream.methods.catalogue import build, load_class, names, summary

__all__ = ["build", "load_class", "names", "summary"]
