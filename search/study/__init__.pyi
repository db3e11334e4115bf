from . import attributes as attributes, results as results, start as start
from .endings import (
    INTERRUPTED as INTERRUPTED,
    KILLED as KILLED,
    Ending as Ending,
    Reason as Reason,
    as_attributes as as_attributes,
    reason_of as reason_of,
)
from .files import find_study as find_study
from .frozen import Count as Count, Figure as Figure, Frozen as Frozen, Share as Share
from .idle import idle_settings as idle_settings
from .machine import processor_name as processor_name
from .opening import (
    Opened as Opened,
    begun_data as begun_data,
    begun_with as begun_with,
    check_same_encoder as check_same_encoder,
    open_named as open_named,
    open_study as open_study,
    results_dir as results_dir,
)
from .recipes import (
    OPPONENTS as OPPONENTS,
    RECIPES as RECIPES,
    Recipe as Recipe,
    recipe_depths as recipe_depths,
)
from .results import (
    SCORED as SCORED,
    Counts as Counts,
    best_feasible as best_feasible,
    complete as complete,
    count as count,
    excess as excess,
    finished as finished,
    is_feasible as is_feasible,
    looks as looks,
    nearest_to_feasible as nearest_to_feasible,
    notes as notes,
    pareto_front as pareto_front,
    recipe_trials as recipe_trials,
    training_kind as training_kind,
)
from .retries import (
    MAX_RETRIES as MAX_RETRIES,
    fail as fail,
    recover as recover,
    retry as retry,
)
from .settings import SEARCHED as SEARCHED
from .space import (
    distributions as distributions,
    place as place,
    recipe_params as recipe_params,
    recipe_settings as recipe_settings,
    suggest as suggest,
    trial_seed as trial_seed,
)
from .spec import (
    Goal as Goal,
    Score as Score,
    StudySpec as StudySpec,
    checked_name as checked_name,
    load_spec as load_spec,
    spec_of as spec_of,
)
from .start import sentences as sentences
from .tally import Tally as Tally, tally_of as tally_of
from .toml_text import study_toml as study_toml
from .wording import (
    bound as bound,
    describe_counts as describe_counts,
    duration as duration,
    figures as figures,
    origin as origin,
    percent as percent,
    rate as rate,
    stages_in_words as stages_in_words,
    training_figure as training_figure,
)
