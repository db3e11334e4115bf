"""What stands in a study's database beside Optuna's own tables: every attribute, named once, with type and meaning.

Databases hold these names: none of them may ever change. The lease's attribute stands in ``search.storage.lease``, Optuna's own
in ``search.storage.optuna_private``, and optuna-dashboard's in ``search.dashboard.dashboard_private``.
"""

# User attributes of a study.

SPEC = "spec"
"""dict: the TOML file that the study was begun with, as ``StudySpec`` dumps it."""

CHOSEN = "chosen"
"""dict: settings that ``search.run_study`` chose by the texts, by table, and its number of trials as ``search.trials``; absent of a study that took the defaults."""

DATA = "data"
"""dict: the data page, see ``trainers.data.describe_data``."""

NUM_LAYERS = "num_layers"
"""int: layers of the encoder."""

PRECISION = "precision"
"""str: number format of the fits, ``float32`` or ``bfloat16``."""

ENCODER_REVISION = "encoder_revision"
"""str or None: commit of the encoder; None of one that is a folder."""

ENCODER_SHA256 = "encoder_sha256"
"""str: fingerprint of the encoder's weights and tokenizer."""

FLAT = "flat"
"""dict: why a search ended before it had all its trials, see ``search.analysis.flatness``."""

CACHE_BYTES = "cache_bytes"
"""int: size of the stored features."""

PREPARATION_SECONDS = "preparation_seconds"
"""float: time that encoder, texts and features took, over all starts of the search."""

PEAK_FLOPS = "peak_flops"
"""float: most operations a second that a product of matrices reached on this processor; absent of a GPU."""

WORKERS = "workers"
"""int: trials under way at once, at the latest start."""

WORKER_BYTES = "worker_bytes"
"""int: memory that a fit takes at most, as measured."""

WALL_SECONDS = "wall_seconds"
"""float: time of all starts of the search."""

PLAN = "start"
"""dict: what was chosen to start from when the study began: ``portfolio``, ``like``."""

WORDS = "words"
"""dict: what the words alone reach on validation, see ``search.analysis.baseline.measure_words``."""

TRACKING = "tracking"
"""str: what tells the study from others of its name in a tracker; absent of one that was never shown in any."""

NODE_SECONDS = "node_seconds"
"""dict: by the name of a node of a cluster, the seconds of its workers in fits, ``fitting``, and without one or without an answer,
``waiting``, in searches; absent where no cluster fitted."""

# System attributes of a study.

CONFIRMATION = "frostline:confirmation"
"""dict: the outcome of the latest confirmation."""

FIT_PREFIX = "frostline:fit:"
"""dict: record of a fit on a fresh seed; the key ends in a digest of its configuration."""

# User attributes of a trial.

RECIPE = "recipe"
"""str: name of the recipe that the trial runs; absent of any other trial."""

ORIGIN = "start"
"""str: where the setup comes from, ``own``, ``portfolio`` or ``trial 24 of imdb``; absent of what the sampler chose."""

RETRY_OF = "retry_of"
"""int: number of the trial that this one repeats."""

CONFIG = "config"
"""dict: the whole configuration of the fit, as ``TrainConfig`` dumps it."""

EVALUATIONS = "evaluations"
"""list of dicts: what was seen during the fit, in order of age; see ``trainers.fit.Evaluation``, and ``score``. ``fold`` is
absent where there are no folds."""

FOLDS = "folds"
"""list of dicts: of a trial over folds, what each came to; see ``trainers.fit.FoldResult``. Figures of the trial are the means."""

STAGES = "stages"
"""list of dicts: what each stage of a fit in several stages restored."""

REASON = "reason"
"""str: why the trial ended, in words; see ``search.study.endings``."""

ENDING = "ending"
"""str: the kind of that reason, a value of ``search.study.endings.Ending``; absent in databases of version 0.1.0."""

VALIDATION_ACCURACY = "validation_accuracy"
"""float: of the checkpoint that was restored, or of the latest evaluation of a pruned trial; in the study's metric."""

ON_SCALE = "on_scale"
"""dict: of steps of a scale, ``accuracy``, ``quadratic_kappa`` and ``mean_absolute_error`` on validation; absent elsewhere."""

LABEL_F1 = "label_f1"
"""dict: where texts may have several labels, the F1 of each on validation by its name, None of one that nobody spoke of; absent elsewhere."""

VALIDATION_LOSS = "validation_loss"
"""float: likewise, cross-entropy."""

TRAINING_ACCURACY = "training_accuracy"
"""float: likewise; absent of what was pruned at a peek."""

TRAINING_EXACT = "training_exact"
"""bool: whether the training figure was measured on all texts; absent in databases of version 0.1.0, where it was."""

TRAINING_INTERVAL = "training_interval"
"""list of two floats: confidence interval of a training figure that is an estimate."""

GAP = "gap"
"""float: training minus validation figure."""

DESIGN_EFFECT = "design_effect"
"""float: where texts belong to groups, how many times the variance of the validation figure is that of as many texts without; see
``trainers.fit.design_effect``. Absent elsewhere, of trials that did not run to their end, and where it is not known."""

NUM_VALIDATION_TEXTS = "num_validation_texts"
"""int: texts that a peek looked at; absent where all were."""

BEST_EPOCH = "best_epoch"
"""float: age of the checkpoint that was restored."""

EPOCHS = "epochs"
"""float: how long the fit trained."""

SECONDS = "seconds"
"""float: how long the fit took."""

TOKENS = "tokens"
"""int: tokens that the fit trained on."""

FLOPS = "flops"
"""float: useful operations of the fit."""

TRAINING_SECONDS = "training_seconds"
"""float: part of the fit's time."""

EVALUATION_SECONDS = "evaluation_seconds"
"""float: part of the fit's time."""

BATCHING_SECONDS = "batching_seconds"
"""float: part of the fit's time."""

PLACE = "place"
"""dict: where the fit ran in a cluster: ``node``, ``device``, ``processor``; absent of fits on the machine of the search."""

UNTAKEN_VALUE = "value"
"""float or None: value of a trial that somebody else had ended; it is only written to find out whether the lease is held."""

# System attributes of a trial.

CONSTRAINTS = "constraints"
"""list of a float: training figure minus ceiling, where optuna-dashboard 0.21 looks; it does not know Optuna 5's own."""

# User attributes of a trial in the study of the Pareto front, beside RECIPE, ORIGIN, REASON, TRAINING_EXACT and GAP.

POINT_TRIAL = "trial"
"""int: number of the trial in the search."""

POINT_EPOCH = "epoch"
"""float: age of the checkpoint."""

POINT_RESTORED = "restored"
"""bool: whether it is the one that the trial restored."""

POINT_STATE = "state"
"""str: how the trial ended, ``complete`` or ``pruned``."""
