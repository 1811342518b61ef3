"""The errors pricecut raises for its reader.

Each is one clear message: which file, row or function, what was expected, and what to do.
The command and every stage print that message without a traceback and exit with code 2.
"""


class PricecutError(Exception):
    """Something a person can mend; its message says where and how.

    Attributes
    ----------
    exit_code : int
        What the process exits with.
    """

    exit_code = 2


class ConfigurationError(PricecutError):
    """``params.yaml`` or an ``app.yaml`` says something that cannot be followed."""


class DataError(PricecutError):
    """A source, or a table between two stages, is not what was expected."""


class FunctionError(PricecutError):
    """A labeling function raised or returned a value outside its labels.

    Parameters
    ----------
    message : str
        What happened, what was expected.
    function : str or None
        The function's name, so that whoever knows its file can say the line.
    """

    def __init__(self, message: str, function: str | None = None) -> None:
        super().__init__(message)
        self.function = function


class CheckpointError(PricecutError):
    """A pretrained model or a published artifact is missing or unreadable."""


class DistributionError(PricecutError):
    """Training on several devices or machines cannot start as asked for, or a worker is gone."""
