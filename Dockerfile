# The environment of requirements.lock in a Debian image; the working tree is mounted, not copied.
#   make container                               builds it with docker, podman or buildah, whichever is there
#   docker build -t synthdrive .                 with torch's CPU build
#   docker build -t synthdrive:cuda --build-arg TORCH=cuda .
#   docker build -t synthdrive --build-context wheels=<folder made by `make vendor`> .      no package index is asked
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/work synthdrive repro|test|verify|shell

# The base by digest, for an image that can be built again: --build-arg BASE=docker.io/library/debian@sha256:...
ARG BASE=docker.io/library/debian:bookworm-slim

# Empty unless the build is given a context of this name: the folder that `make vendor` fills.
FROM scratch AS wheels

# The system: Debian's Python 3.11 and what the wheels expect of it. Kept as an image (--target system), it is a base
# that Debian's mirrors are not asked for any more: with `wheels`, the rest is then built without any network.
FROM ${BASE} AS system
# g++ and python3-dev here let torch.compile work (training parameter `compile`).
ARG EXTRA_PACKAGES=
COPY containers/install-packages.sh /tmp/install-packages.sh
# SUMO's programs are linked with X11 and OpenGL, and never draw.
RUN sh /tmp/install-packages.sh python3 python3-venv git make ca-certificates libx11-6 libxrender1 libgl1 libatomic1 \
      ${EXTRA_PACKAGES} \
 && rm /tmp/install-packages.sh

FROM system AS environment
# Build of torch: cpu, cuda, or pip's words ("torch==2.13.0 --index-url <index>").
ARG TORCH=cpu
COPY containers/install-environment.sh containers/torch.sh containers/strip-environment.sh /tmp/containers/
COPY requirements.lock /work/
COPY src/synthdrive/__init__.py /work/src/synthdrive/
COPY src/synthdrive/core/__init__.py src/synthdrive/core/errors.py /work/src/synthdrive/core/
COPY tools/__init__.py tools/wheels.py /work/tools/
RUN --mount=type=bind,from=wheels,target=/wheels cd /work \
 && if [ -f /wheels/vendored.lock ]; then export WHEELS=/wheels; fi \
 && PIP_NO_CACHE_DIR=1 /tmp/containers/install-environment.sh /opt/synthdrive \
 && sh /tmp/containers/strip-environment.sh /opt/synthdrive

FROM system
ARG BASE
LABEL org.opencontainers.image.title="SynthDrive" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
# Any uid may run it (--user): a home that anyone can write, a name for a uid without one, git in anybody's tree.
RUN useradd --uid 1000 --create-home driver && chmod 1777 /home/driver \
 && mkdir -m 1777 /cache && mkdir /work \
 && git config --system --add safe.directory '*' \
 && git config --system user.name driver && git config --system user.email driver@localhost
COPY --from=environment /opt/synthdrive /opt/synthdrive
COPY containers/cache.dvcconfig /etc/synthdrive/dvc/config
COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/synthdrive
ENV PATH=/opt/synthdrive/bin:$PATH HOME=/home/driver USER=driver LOGNAME=driver LANG=C.UTF-8 \
    DVC_SITE_CACHE_DIR=/tmp/dvc PYTHONDONTWRITEBYTECODE=1 SYNTHDRIVE_CONTAINER=/opt/synthdrive
USER driver
WORKDIR /work
# /work is the working tree. /cache, where something is mounted there, becomes DVC's cache. Raw data: mount them on
# data/raw/argoverse1 in /work. None is declared a VOLUME: without a mount, the engine would otherwise create an
# anonymous volume, and hours of results would be lost with it. compose.yaml names the volumes.
ENTRYPOINT ["synthdrive"]
CMD ["repro"]
