"""What is made of a session for others: the cut list of its recording, and reports of what was used."""

from typing import Literal

from pydantic import Field

from earmark.settings.section import Section


class Cuts(Section):
    """The cut list: what of a stream its recording is to be published without."""

    actions: tuple[Literal["warn", "block", "mute", "takedown", "monetize"], ...] = Field(
        ("block", "mute", "takedown"),
        min_length=1,
        description="plays whose policy says one of these are to go; Earmark lists them and cuts nothing itself, so that a dry run changes nothing here",
    )
    edge_s: float = Field(
        0.75,
        ge=0,
        le=30,
        description="each cut is so much longer at both ends than the play that was heard: of the first and the last notes some are too quiet, or too few, to be heard as the recording's, for half a second at most in 192 plays of generated music",
    )


class Reporting(Section):
    """Who reports the use of recordings (`earmark report --format soundexchange`), as the head of such a report says it."""

    service: str = Field("", max_length=255, description="name of the service, in each row and in the file's name")
    category: str = Field("", pattern=r"^[A-L]?$", description="its transmission category, a letter (37 CFR 370.4(d)(2)(ii))")
    contact: str = Field("", max_length=255, description="who answers questions; with street, city, telephone and email: the report gets a head")
    street: str = Field("", max_length=255, description="their street address")
    city: str = Field("", max_length=255, description="their city, state and zip code")
    telephone: str = Field("", max_length=255, description="their telephone number")
    email: str = Field("", max_length=255, description="their e-mail address")

    @property
    def has_head(self) -> bool:
        return all((self.service, self.contact, self.street, self.city, self.telephone, self.email))
