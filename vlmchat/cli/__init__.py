"""The command line: one module a subcommand, nothing heavy at import."""
