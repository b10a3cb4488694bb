"""Other libraries' progress and advice, kept from a screen that shows ours."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Let transformers show neither progress bars nor warnings, as long as the context lasts."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
