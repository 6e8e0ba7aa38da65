"""Where mentions come from and replies go: one file each, found by its name in the config."""
