from .command import check_request as check_request, confirm_opened as confirm_opened
from .finalists import choose_finalists as choose_finalists
