"""Where alerts go: one file each, found by its name in the config."""
