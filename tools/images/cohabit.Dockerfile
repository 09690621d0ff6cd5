# A base image that can `pip install cohabit` without a network: the context holds this repository's wheel
# and the wheels it depends on, and pip is told to look nowhere else. cohabit itself is not installed here,
# so that the user's own line in the Dockerfiles of examples/ is what installs it.
ARG BASE
FROM ${BASE}
COPY . /opt/wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore
