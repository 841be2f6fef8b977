"""Stored files."""

from pydantic import Field

from earmark.settings.section import Positive, Section, Share


class Check(Section):
    """Stored files: an object under a place is heard once, faster than it plays, and what is in it is written beside it."""

    place: str = Field(
        "",
        pattern=r"^(s3://[^/]+/(.*[^/]/)?)?$",
        description="s3://bucket/prefix/ whose objects are checked: beside each NAME appear NAME.earmark.json and NAME.earmark.html; empty: none are",
    )
    bytes_max: int = Field(100_000_000_000, gt=0, description="a larger object is refused, and its NAME.earmark.json says so; it is read by ranges")
    length_s_max: Positive = Field(
        90_000, description="a longer file is refused, or heard so far where its header does not say how long it is: a day, and an hour"
    )
    files_max: int = Field(2, ge=0, le=64, description="files that one worker checks at once, each with some 25 MB; 0: it leaves them to others")
    compute_share_max: Share = Field(
        0.5, description="share of the compute thread's time for files while streams are heard, which come first in any case; without any, all of it"
    )
    commit_every_s: Positive = Field(5, description="what was found goes on record this often: so much is heard again after a kill")
    alerts: bool = Field(False, description="send the alerts of `alerts` for plays in files too")
