"""What is to be done about plays."""

from pydantic import Field

from earmark.settings.section import Section


class Policy(Section):
    """The operator's own rules and licences."""

    file: str = Field(
        "",
        description="a TOML file of licences and rules (config/policy.toml shows all of it), or s3://bucket/key, read at the start; empty: what recordings' owners say is told, and that is all",
    )
