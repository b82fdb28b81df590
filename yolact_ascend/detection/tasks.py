"""The tasks: what a network finds of each object. The names are those of report.json's keys."""

BOX, MASK = "box", "mask"
