# syntax=docker/dockerfile:1
# The daemon and what `earmark run` needs, no more: no compiler, no pip, no embedded server, no AWS stand-in.
# The base is named by minor version and Debian release, not by digest: its security updates come with the next build, so
# build (or `cdk deploy`) once a month; every Python package is locked by hash. --build-arg BASE=...@sha256:... pins it.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /source

# The locked packages first: they change seldom, and this layer is the large one. Without their own tests, a tenth of it,
# which nothing imports.
COPY requirements/run.lock requirements/build.lock requirements/
RUN python -m venv --without-pip /venv \
 && python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.lock \
 && /build/bin/pip --python /venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements/run.lock \
 && find /venv/lib -type d -name tests -prune -exec rm -rf {} +


FROM packages AS builder
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && /build/bin/pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl \
 && /venv/bin/python -m compileall -q /venv/lib


# The desk's, with the AWS stand-in, for `earmark surroundings`: docker build --target desk. The daemon's below has nothing of it.
FROM packages AS desk-builder
COPY requirements/desk.lock requirements/
RUN /build/bin/pip --python /venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements/desk.lock
COPY --from=builder /wheels /wheels
RUN /build/bin/pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl \
 && /venv/bin/python -m compileall -q /venv/lib


FROM ${BASE} AS desk
COPY --from=desk-builder /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["earmark"]
CMD ["surroundings"]


FROM ${BASE} AS daemon
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="earmark" \
      org.opencontainers.image.description="Which catalogued recording is playing in this live stream, from when to when" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=builder /venv /venv
# So that `sslmode=verify-full sslrootcert=/etc/earmark/rds-ca.pem` knows Amazon RDS.
COPY config/rds-ca.pem /etc/earmark/rds-ca.pem

# The root file system may be read-only: the roles `catalogue` and `api` write to /tmp alone. Said here, because Fargate
# gives a volume to root and nobody else, unless the image has one in its place: then it is anybody's, as /tmp is.
VOLUME ["/tmp"]

# One process is one core: libraries that would start threads of their own are told so.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1

# A number, so that Kubernetes can see that it is not root; nobody has to exist by that name.
USER 10001:10001
EXPOSE 9100 8080
STOPSIGNAL SIGTERM
# ECS has its own in the task definition; this one is for `docker run`.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9100/healthz', timeout=4)"]
ENTRYPOINT ["earmark"]
CMD ["run"]
