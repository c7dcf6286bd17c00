"""The command line: one file per noun, loaded when used, calling only the public API."""
