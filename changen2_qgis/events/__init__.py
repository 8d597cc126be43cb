"""Change events: drawn, simulated or read, as a layer and as a file."""
