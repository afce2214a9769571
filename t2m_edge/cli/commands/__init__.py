"""One module a command; each has `app`, a Typer application."""
