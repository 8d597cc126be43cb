"""The parts of a detection that other jobs need as well."""
