"""How functions vote on a table: declared ones as one plan, row functions in worker processes, votes kept a function."""
