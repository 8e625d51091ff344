"""mosaik simulators: where simulated time lives."""
