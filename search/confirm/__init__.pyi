from .command import check_request as check_request
from .confirmation import confirm_opened as confirm_opened
from .finalists import choose_finalists as choose_finalists
