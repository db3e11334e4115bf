from .interface import run_study as run_study
from .result import Result as Result
