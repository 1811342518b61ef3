"""The top floor: runs DVC's graph by Prefect, and holds the ``pricecut`` command."""

from flows.settings import apply_settings

apply_settings()  # Prefect reads them when it is first imported, which only modules of this floor do
