"""Many sources to one corpus, to votes, to probabilistic labels, to an audited training set."""
