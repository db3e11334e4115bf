from .choices import (
    FILE_SUFFIXES as FILE_SUFFIXES,
    METRIC_NAMES as METRIC_NAMES,
    PACKAGED_ENCODER as PACKAGED_ENCODER,
    PACKAGED_SOURCES as PACKAGED_SOURCES,
    SMALLEST_SPLIT as SMALLEST_SPLIT,
    TASK_METRICS as TASK_METRICS,
    Clean as Clean,
    Device as Device,
    FixedPrecision as FixedPrecision,
    HeadLogits as HeadLogits,
    HeadStart as HeadStart,
    HeadWeights as HeadWeights,
    Loss as Loss,
    Metric as Metric,
    Pooling as Pooling,
    Precision as Precision,
    Schedule as Schedule,
    Task as Task,
    checked_device as checked_device,
)
from .data import (
    DataConfig as DataConfig,
    check_metric as check_metric,
    metrics_of as metrics_of,
    task_of as task_of,
)
from .encoder import EncoderConfig as EncoderConfig
from .fit import (
    Thaw as Thaw,
    TrainConfig as TrainConfig,
)
from .table import (
    Table as Table,
    table_keys as table_keys,
)
from .toml import (
    as_toml as as_toml,
    load_config as load_config,
    read_toml as read_toml,
)
