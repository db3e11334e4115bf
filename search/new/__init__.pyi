from .choices import Chosen as Chosen, choose_settings as choose_settings, unnamed as unnamed
from .classes import choose_classes as choose_classes
from .command import main as main
from .cost import PRECISION as PRECISION
from .guesses import guess_columns as guess_columns
from .sizes import (
    CHEAP_RECIPES as CHEAP_RECIPES,
    EVALUATIONS as EVALUATIONS,
    MOST_TRIALS as MOST_TRIALS,
    STEPS as STEPS,
    epochs_of as epochs_of,
)
