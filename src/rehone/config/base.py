"""Hold what all sections share: unknown keys are refused, "off" is no value, numbers are finite."""

from __future__ import annotations

from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

OFF = "off"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"no time zone {value!r}: use an IANA name such as Europe/Paris") from None
    return value


Zone = Annotated[str, AfterValidator(_known_zone)]


def _may_be_off(section: type[BaseModel], key: str) -> bool:
    field = section.model_fields[key]
    return field.default is not None and type(None) in get_args(field.annotation)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _switched_off(cls, value: Any) -> Any:
        """Take "off" for `None`, which TOML cannot write, where a key may be without a value."""
        if not isinstance(value, dict):
            return value
        return {k: None if v == OFF and k in cls.model_fields and _may_be_off(cls, k) else v for k, v in value.items()}
