"""What every job keeps of its run: progress, journal, manifest and folder."""
