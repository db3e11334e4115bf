from .baseline import Aim as Aim, choose_aim as choose_aim, fit_words as fit_words, note_words as note_words
from .calibrated import (
    Calibrated as Calibrated,
    ReliabilityCurve as ReliabilityCurve,
    SplitCalibrated as SplitCalibrated,
)
from .ceiling_cost import CeilingPrice as CeilingPrice, price_of_ceiling as price_of_ceiling
from .confirmed import (
    Comparison as Comparison,
    ConfirmedFinalist as ConfirmedFinalist,
    Difference as Difference,
    Flattery as Flattery,
    FreeTable as FreeTable,
    FreshFit as FreshFit,
    Outcome as Outcome,
    OverSeeds as OverSeeds,
    ScaleFigures as ScaleFigures,
    SearchFigures as SearchFigures,
    TestSplitFigures as TestSplitFigures,
    WordsTested as WordsTested,
)
from .data_page import (
    DataPage as DataPage,
    FindingNoted as FindingNoted,
    describe as describe,
    print_page as print_page,
    texts_table as texts_table,
    warnings_of as warnings_of,
)
from .flatness import (
    NOTICEABLE as NOTICEABLE,
    Flat as Flat,
    is_flat as is_flat,
    note_flat as note_flat,
    why_flat as why_flat,
)
from .goal import (
    Figures as Figures,
    FreshSeedsJudged as FreshSeedsJudged,
    GoalJudged as GoalJudged,
    Limits as Limits,
    SetupJudged as SetupJudged,
    judge as judge,
    judge_setup as judge_setup,
    meets as meets,
    seeds_of as seeds_of,
    shortfall as shortfall,
    state as state,
)
from .group_effect import group_effect as group_effect, say_groups as say_groups
from .importance import Importances as Importances, importances as importances
from .luck import flattery as flattery
from .majority import ALWAYS_MAJORITY as ALWAYS_MAJORITY, call_out as call_out, majority_of as majority_of
from .opponents import (
    WORDS_ALONE as WORDS_ALONE,
    Opponent as Opponent,
    Opponents as Opponents,
    OpponentTested as OpponentTested,
    compare_with_majority as compare_with_majority,
    compare_with_opponents as compare_with_opponents,
    winner_of as winner_of,
)
from .outcome import CONFIRMATION as CONFIRMATION, confirmation_of as confirmation_of
from .pareto import (
    LITTLE_GROWTH as LITTLE_GROWTH,
    Checkpoint as Checkpoint,
    Growth as Growth,
    checkpoints as checkpoints,
    floor_of as floor_of,
    growth as growth,
    pareto_front as pareto_front,
)
from .statistics import (
    CONFIDENCE as CONFIDENCE,
    Classes as Classes,
    Paired as Paired,
    Predicted as Predicted,
    accuracy_of as accuracy_of,
    compare as compare,
    estimate as estimate,
    holm as holm,
)
from .time_use import Account as Account, account as account
