"""The one loop that every method learns in; settings, events, evaluation and what is written to disk."""
