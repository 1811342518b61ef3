"""Side by side with peers, and a second pipeline over public data."""
