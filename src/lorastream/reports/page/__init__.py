"""Pages in HTML that need nothing beside them: no network, no script, no second file."""
