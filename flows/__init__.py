"""The top floor: runs DVC's graph by Prefect, and holds the ``pricecut`` command."""
