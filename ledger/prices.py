"""The price sheet: what a thing costs, as the owner says in ``params.yaml``."""

from typing import Annotated

from pydantic import Field

from ledger.parameters import Parameters

Price = Annotated[float, Field(ge=0)]


class Prices(Parameters):
    """Section ``prices`` of ``params.yaml``; money is in ``currency``.

    Attributes
    ----------
    currency : str
        As it is to be written.
    label : float
        One row labeled by hand.
    function : float
        One labeling function written, tested and kept.
    cpu_hour, gpu_hour : float
        One core, one GPU, energy included.
    storage_gb_month, transfer_gb : float
        A gigabyte (10^9 bytes) kept for a month; sent to a replica.
    replicas : int
        Machines that serve the model; each keeps it, and is sent it once a month.
    requests_month, months : int
        How much, and for how long, the model is to serve.
    """

    currency: str
    label: Price
    function: Price
    cpu_hour: Price
    gpu_hour: Price
    storage_gb_month: Price
    transfer_gb: Price
    replicas: Annotated[int, Field(ge=1)]
    requests_month: Annotated[int, Field(ge=0)]
    months: Annotated[int, Field(ge=1)]
