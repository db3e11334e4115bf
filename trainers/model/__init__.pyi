from .card import model_card as model_card
from .classifier import (
    Classifier as Classifier,
    assemble as assemble,
    load as load,
    save as save,
    weights_sha256 as weights_sha256,
)
from .decisions import (
    Decisions as Decisions,
    check_threshold as check_threshold,
    decisions as decisions,
    describe_decisions as describe_decisions,
)
from .description import class_names as class_names, pair_columns as pair_columns, task as task
from .docker import docker_files as docker_files
from .hub import check_push as check_push, push as push, without_folders as without_folders
from .int8 import Int8 as Int8, describe_int8 as describe_int8, export_int8 as export_int8
from .onnx import check_packages as check_packages, export_onnx as export_onnx
from .provenance import Confirmation as Confirmation, Search as Search
