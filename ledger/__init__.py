"""The ground floor: what a stage used, what it costs, the statement and the report."""
