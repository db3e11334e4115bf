from .files import (
    check_files as check_files,
    sha256_of as sha256_of,
    verify_checksums as verify_checksums,
    write_checksums as write_checksums,
)
from .foreign_code import KnownCode as KnownCode
from .loading import (
    Encoder as Encoder,
    check_vocabulary as check_vocabulary,
    encoder_fingerprint as encoder_fingerprint,
    load_checked as load_checked,
    load_encoder as load_encoder,
    load_tokenizer as load_tokenizer,
    quiet_transformers as quiet_transformers,
)
from .sections import (
    EMBEDDINGS as EMBEDDINGS,
    POOLER as POOLER,
    embeds_segments as embeds_segments,
    run as run,
    set_dropout as set_dropout,
)
