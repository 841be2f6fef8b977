"""The policy file that the settings name."""

from pathlib import Path

from earmark.errors import BadSettings
from earmark.hits.rights import Decide, by_owner
from earmark.metadata import shown
from earmark.policies.deciding import Deciding
from earmark.policies.document import BYTES_MAX, Policies, parse


def deciding(file: str) -> Decide:
    """How plays are decided about: by that file; without one, by owners' wishes alone. Raises BadSettings, as `load`."""
    return Deciding(load(file)) if file else by_owner


def load(file: str) -> Policies:
    """Raises BadSettings: the file, which rule, which value, why."""
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # a name with NUL in it is no name
        raise BadSettings(f"the policy file {shown(file)} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse(data, name=file)
