"""The pages of the dock and their parts."""
