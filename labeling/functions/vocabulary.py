"""What a vote may be."""

ABSTAIN = -1
"""The vote of a function that has nothing to say."""
