"""The command line: options, commands, log and completion."""
