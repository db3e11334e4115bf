"""Winner -> winner.toml and a model directory, in trackers and on a hub, too.

What other folders may use stands in ``__init__.pyi``; it is loaded when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
