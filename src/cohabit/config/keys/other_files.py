"""The tables of the keys that name other files: `extends` of a service, and `include` at the top level."""

from typing import Annotated

from cohabit.config.keys.table import Keys


class ExtendsKeys(Keys):
    """A service's extends in its long form."""

    service: Annotated[str, "The service whose keys it takes."]
    file: Annotated[
        str | None,
        "The file of that service; the path is relative to the directory of the first file. Default: this file.",
    ] = None


class IncludeKeys(Keys):
    """One entry of include in its long form."""

    path: Annotated[str | list[str], "The file; of several files, each one overrides those before it."]
    project_directory: Annotated[
        str | None,
        "The directory for its relative paths and its `.env`. Default: that of the (first) file.",
    ] = None
    env_file: Annotated[
        str | list[str] | None,
        "Variables for interpolation in it, which the container's override. Default: the `.env` in its directory.",
    ] = None
