"""What fails for now is put up with: counted each time, told when it begins and when its reason changes, and done again in its next turn."""

from collections.abc import Callable

import structlog

from earmark.errors import AwsRefused, Transient


class Patience:
    """One for several things, each of which keeps no other from its turn.

    Args:
        event: how the log calls a failure.
        of: how it calls what failed.
        failed: told of each failure.
    """

    def __init__(self, *, event: str, of: str, failed: Callable[[], None]) -> None:
        self._event, self._of, self._failed = event, of, failed
        self._failing: dict[str, str] = {}
        self._log = structlog.get_logger()

    def call(self, name: str, function: Callable[[], object]) -> None:
        """Raises what does not pass by itself: a wrong schema, a bug."""
        try:
            function()
            self._failing.pop(name, None)
        except (Transient, AwsRefused) as error:
            self._failed()
            if self._failing.get(name) != str(error):
                self._failing[name] = str(error)
                self._log.warning(self._event, **{self._of: name, "reason": str(error)})
