from . import optuna_private as optuna_private
from .credentials import StorageOption as StorageOption, chosen_url as chosen_url, redacted as redacted
from .database import DatabaseAwayError as DatabaseAwayError, connect as connect, driver_words as driver_words
from .lease import (
    Lease as Lease,
    LeaseHeldError as LeaseHeldError,
    LeaseLostError as LeaseLostError,
    database_of as database_of,
    is_searched as is_searched,
)
from .mirror import Mirror as Mirror, together as together
