# asyncfilter in a container: docs/deploy/container.md has the commands. tests/cli/test_deployment.py runs these steps.
# docs/examples/cluster/Dockerfile builds on it.
#
# A tag moves when the image is updated; for a build that can be repeated, name the image by its digest:
#   docker build --build-arg PYTHON=python@sha256:... -t asyncfilter .
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements/run.txt requirements/run.txt
RUN python -m venv --without-pip /opt/asyncfilter \
 && python -m pip --python /opt/asyncfilter/bin/python install --quiet --require-hashes --only-binary :all: \
    -r requirements/run.txt
COPY requirements/build.txt requirements/build.txt
RUN python -m venv --without-pip /opt/build \
 && python -m pip --python /opt/build/bin/python install --quiet --require-hashes --only-binary :all: \
    -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY asyncfilter asyncfilter
RUN /opt/build/bin/python -m hatchling build --target wheel --directory dist \
 && python -m pip --python /opt/asyncfilter/bin/python install --quiet --no-deps --no-index dist/*.whl

FROM ${PYTHON}
COPY --from=build /opt/asyncfilter /opt/asyncfilter
# A number, so that it can be given to volumes and access points; the home directory is the volume.
RUN groupadd --gid 10001 asyncfilter \
 && useradd --uid 10001 --gid 10001 --home-dir /work --no-create-home --shell /usr/sbin/nologin asyncfilter \
 && mkdir /work \
 && chown 10001:10001 /work
ENV PATH=/opt/asyncfilter/bin:/usr/local/bin:/usr/bin:/bin HOME=/work LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /work
# Job files and checkpoints: without a volume of its own, what was paid for is lost with the container.
VOLUME /work
# A run drains at SIGTERM and exits with 75; the same command continues.
STOPSIGNAL SIGTERM
ENTRYPOINT ["asyncfilter"]
CMD ["--help"]
