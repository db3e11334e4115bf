from .batching import FORWARD_TOKENS as FORWARD_TOKENS, sorted_batches as sorted_batches
from .calibration import (
    Answered as Answered,
    Calibration as Calibration,
    Coverage as Coverage,
    Floats as Floats,
    Labels as Labels,
    SplitCalibration as SplitCalibration,
    calibrate as calibrate,
    label_by_label as label_by_label,
    probabilities as probabilities,
)
from .cross_validation import (
    FoldResult as FoldResult,
    answer_folds as answer_folds,
    figures_of_folds as figures_of_folds,
    fit_folds as fit_folds,
    mean_ages as mean_ages,
    refit_config as refit_config,
)
from .device import (
    choose_device as choose_device,
    cuda_devices as cuda_devices,
    named_failures as named_failures,
)
from .feature_building import build_features as build_features
from .feature_files import (
    FeatureWriter as FeatureWriter,
    default_cache_directory as default_cache_directory,
    description as description,
    evict as evict,
)
from .features import Features as Features, Progress as Progress, StoredSplit as StoredSplit
from .grouped import (
    design_effect as design_effect,
    error_of_mean as error_of_mean,
    groups_of_hits as groups_of_hits,
)
from .hits import unpacked as unpacked
from .holdout import (
    answer_test as answer_test,
    answer_validation as answer_validation,
    predict_test as predict_test,
    said_by as said_by,
)
from .looks import (
    FIRST_SAMPLE as FIRST_SAMPLE,
    KEPT_CHECKPOINTS as KEPT_CHECKPOINTS,
    PEEK_TEXTS as PEEK_TEXTS,
)
from .loop import fit as fit
from .losses import check_class_weights as check_class_weights
from .metrics import (
    answers as answers,
    effective_count as effective_count,
    is_share as is_share,
    measure as measure,
    ranked_class as ranked_class,
    standard_error as standard_error,
    tally as tally,
)
from .network import Network as Network
from .ordinal import (
    OnScale as OnScale,
    median_class as median_class,
    on_scale as on_scale,
    quadratic_kappas as quadratic_kappas,
)
from .precision import choose_precision as choose_precision, pinned as pinned
from .probe import folds as folds
from .records import Cost as Cost, Evaluation as Evaluation, FitResult as FitResult
from .several import (
    Answers as Answers,
    decide_labels as decide_labels,
    from_millionths as from_millionths,
    in_millionths as in_millionths,
    label_f1 as label_f1,
    measure_several as measure_several,
    one_column as one_column,
    sigmoid as sigmoid,
)
from .thresholds import (
    UNCHANGED as UNCHANGED,
    ThresholdAim as ThresholdAim,
    achieved as achieved,
    aim_in_words as aim_in_words,
    best_threshold as best_threshold,
    decide as decide,
)
