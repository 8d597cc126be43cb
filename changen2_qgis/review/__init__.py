"""Looking through a finished detection: threshold, places, sample, assessment."""
