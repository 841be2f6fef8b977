"""What every section of the settings is, and the kinds of values in them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


Positive = Annotated[float, Field(gt=0)]
#: In US$; whoever types more has forgotten the point.
Price = Annotated[float, Field(ge=0, le=100_000)]
Share = Annotated[float, Field(gt=0, le=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
