"""The parts of the tool, in the order of a run: options, paths, inputs, interface, outputs, summary, benchmark."""
