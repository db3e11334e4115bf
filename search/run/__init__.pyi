from .command import check_request as check_request, main as main, run as run
from .searching import search_study as search_study
