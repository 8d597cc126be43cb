"""The parts of the generate job: from folders of single dates to pairs of a change data set."""
