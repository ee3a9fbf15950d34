"""Measurements against software and pages that nobody here wrote; each module is one command."""
