"""Training of the systems of docs/SOURCES.md on labelled data sets."""
