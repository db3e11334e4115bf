from .command import (
    command_options as command_options,
    make_report as make_report,
    write_files as write_files,
)
from .conclusions import (
    asks_for_little as asks_for_little,
    falls_short as falls_short,
    judgement as judgement,
    next_commands as next_commands,
    verdict as verdict,
    verdict_on_trial as verdict_on_trial,
    worth as worth,
    worth_of as worth_of,
)
from .models import Summary as Summary, TrialRow as TrialRow
from .pareto_png import keep_fonts as keep_fonts, write_pareto_picture as write_pareto_picture
from .summary import summarise as summarise, trial_row as trial_row
