from .cluster.connection import Cluster as Cluster, joined as joined
from .cluster.options import NO_CLUSTER as NO_CLUSTER, ClusterOptions as ClusterOptions
from .cluster.pool import pools as pools
from .fit_memory import (
    measure_memory as measure_memory,
    most_bytes as most_bytes,
    worker_bytes as worker_bytes,
)
from .fitting import figures_of as figures_of
from .news import (
    Death as Death,
    Failure as Failure,
    Fitted as Fitted,
    Lost as Lost,
    Silence as Silence,
)
from .peak import known_peak_flops as known_peak_flops
from .pool import OpenPool as OpenPool, Place as Place, Pool as Pool, drive as drive
from .preparation import prepare as prepare
from .progress import Live as Live
from .scheduler import (
    most_workers as most_workers,
    number_of_workers as number_of_workers,
    run_trials as run_trials,
)
from .silence import (
    HELP as HELP,
    TrialTimeout as TrialTimeout,
    check_timeout as check_timeout,
    patience_seconds as patience_seconds,
)
from .tracking.mirror import Mirror as Mirror
from .tracking.models import keep_model as keep_model
from .tracking.targets import (
    ModelTrackOption as ModelTrackOption,
    Target as Target,
    TrackOption as TrackOption,
    model_targets_of as model_targets_of,
    targets_of as targets_of,
)
from .worker_pool import Crew as Crew, warm_up as warm_up
