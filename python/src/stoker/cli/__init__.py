"""The command line: parsed by cyclopts from the operations, printed by one renderer for each kind of value."""
