from .command import NUM_SEEDS as NUM_SEEDS, confirm_study as confirm_study
from .finalists import choose_finalists as choose_finalists
