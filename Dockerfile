# syntax=docker/dockerfile:1
# One image for every command: `docker run IMAGE ingest`, `docker run IMAGE process shop:handlers`, `docker run IMAGE doctor`.
#
# Your handlers go into an image made from it:
#   FROM forebay:0.1.0
#   COPY shop/ /app/shop/
# and the chart or compose.yaml name it, with `shop.crm:handlers`.

# The base by its digest, so that the same build is the same image, on amd64 and arm64: the digest is that of the tag's list of
# platforms. `docker buildx imagetools inspect python:3.13-slim-bookworm` names the one of today; take it for the fixes of Debian's.
ARG BASE=python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# A C compiler for gunicorn's parser in C, which there is as source alone. It stays in this stage.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
COPY constraints/image.txt /src/constraints/
RUN /opt/venv/bin/python -m pip install --require-hashes --no-deps -r /src/constraints/image.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY forebay /src/forebay
COPY schemas /src/schemas
COPY queues /src/queues
COPY ingest /src/ingest
COPY processors /src/processors
COPY console /src/console
WORKDIR /src
# What builds it is pinned with the rest, and does not stay.
RUN /opt/venv/bin/python -m pip install --no-deps --no-build-isolation . \
    && /opt/venv/bin/python -m pip uninstall --yes hatchling editables pathspec pluggy trove-classifiers pip \
    && /opt/venv/bin/forebay --help > /dev/null

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Forebay" \
      org.opencontainers.image.description="The incoming queue for Bitrix24 events" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# An init: it passes signals on, and reaps what a handler leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 forebay \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin forebay \
    && install --directory --owner 10001 --group 10001 /app /var/lib/forebay
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    FOREBAY_DATA_DIR=/var/lib/forebay
USER 10001:10001
WORKDIR /app
EXPOSE 8080 9090
# Probes look after it: those of the chart, or compose.yaml's own.
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--", "forebay"]
CMD ["--help"]
