"""The locks, and what looks after them: what they hold, under which licences, and the list of parts (SBOM). Not part of the package."""
