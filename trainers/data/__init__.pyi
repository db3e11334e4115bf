from .cleaning import clean_text as clean_text
from .fetching import SplitName as SplitName
from .findings import SHOWN_AS as SHOWN_AS, Finding as Finding
from .folding import Fold as Fold, fold_rows as fold_rows
from .grouping import draw_groups as draw_groups, joined as joined
from .label_guesses import LabelGuess as LabelGuess, suggest_labels as suggest_labels
from .labels import name_classes as name_classes
from .ordering import guess_order as guess_order
from .pairs import (
    Text as Text,
    cleaned as cleaned,
    encode_pairs as encode_pairs,
    has_segments as has_segments,
    is_blank as is_blank,
    sides as sides,
)
from .rows import (
    Answer as Answer,
    Rows as Rows,
    check_out as check_out,
    in_a_cell as in_a_cell,
    read_rows as read_rows,
    write_rows as write_rows,
)
from .sources import suggest_pair as suggest_pair
from .splits import (
    Splits as Splits,
    describe_data as describe_data,
    load_splits as load_splits,
    texts_per_class as texts_per_class,
)
from .splitting import SPLITS as SPLITS
from .stratified import stratified_parts as stratified_parts
from .tables import check_text as check_text, decode as decode
from .texts import Texts as Texts, read_texts as read_texts
from .tokens import (
    Split as Split,
    cut_points as cut_points,
    encode as encode,
    special_tokens as special_tokens,
    tokenise as tokenise,
)
