from .choice import choose as choose
from .command import check_request as check_request, export_opened as export_opened, main as main
from .winner import fit_again as fit_again
