"""The tables of the options of our own sections of a supervisord.conf (supervisord_own.py)."""

from typing import Annotated

from cohabit.config.keys.fields import DependsOnKeys, HealthcheckKeys, Seconds
from cohabit.config.keys.table import Keys
from cohabit.plan.node import Node


class ContainerKeys(Keys):
    """[x-cohabit]."""

    exit_when_all_ended: Annotated[bool, "The container ends when every program is FATAL or has ended."] = False
    stop_grace_period: Annotated[Seconds | None, "Maximum time to stop all programs together."] = None
    logging: Annotated[Node | None, "The driver of programs whose output goes to no file."] = None


class ProgramKeys(Keys):
    """[x-cohabit:NAME]."""

    depends_on: Annotated[dict[str, DependsOnKeys] | None, "Programs or groups that it waits for."] = None
    env_file: Annotated[list[str] | None, "Files of variables, relative to the directory of the conf."] = None
    essential: Annotated[bool | None, "Its end for good ends the container."] = None
    healthcheck: Annotated[HealthcheckKeys | None, "How cohabit checks that it is ready and healthy."] = None
    logging: Annotated[Node | None, "The driver of its output, instead of its log files."] = None
    secret_files: Annotated[bool | None, "The text of the secret in NAME_FILE becomes the value of NAME."] = None
