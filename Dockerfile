# syntax=docker/dockerfile:1
# Two stages: one installs the locked environment, the other holds only what runs.
#   docker build -t synthdrive .
#   docker build -t synthdrive:cuda --build-arg TORCH_INDEX=<index of CUDA wheels> .
# The working tree is mounted at /work: docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/work synthdrive repro
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS environment
ARG TORCH=torch==2.13.0
# Index (or folder) that the torch build comes from; empty: pip's own configuration
ARG TORCH_INDEX=
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/synthdrive
COPY requirements.lock /tmp/requirements.lock
RUN /opt/synthdrive/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} ${TORCH} \
 && /opt/synthdrive/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements.lock \
 && /opt/synthdrive/bin/pip check

FROM ${BASE}
LABEL org.opencontainers.image.title="SynthDrive" org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv git make ca-certificates libgl1 libglu1-mesa libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory '*' \
 && useradd --create-home --uid 1000 driver \
 && mkdir -p /work /home/driver && chmod 1777 /home/driver
COPY --from=environment /opt/synthdrive /opt/synthdrive
COPY docker-entrypoint.sh /usr/local/bin/synthdrive
ENV PATH=/opt/synthdrive/bin:$PATH HOME=/home/driver PYTHONPATH=/work/src PYTHONDONTWRITEBYTECODE=1 SYNTHDRIVE_CONTAINER=1
USER driver
WORKDIR /work
VOLUME ["/work"]
ENTRYPOINT ["synthdrive"]
CMD ["repro"]
