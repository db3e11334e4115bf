from .command import command_options as command_options, make_report as make_report
from .conclusions import (
    asks_for_little as asks_for_little,
    falls_short as falls_short,
    judgement as judgement,
    next_commands as next_commands,
    verdict_on_trial as verdict_on_trial,
    worth as worth,
)
from .summary import summarise as summarise, trial_row as trial_row
