# The gateway, with PostgreSQL and Redis elsewhere: INGEST_POSTGRES_URL and INGEST_REDIS_URL say where.
#
#   docker build -t streamverse-ingest .
#   docker build -t streamverse-ingest:dev --target dev .     # brings both servers with it; for trying things
#
# Debian's slim image, not Alpine: the wheels are for glibc. Every package is checked by its hash, only our own Rust core is compiled.

# The Rust core: python:3.11 has the linker that the slim image lacks, and is of the same Debian.
FROM rust:1.95-slim AS rust
FROM python:3.11 AS core
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
WORKDIR /src
COPY native native
RUN python native/build.py wheel /wheels

FROM python:3.11-slim AS built
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/streamverse
COPY requirements-image.lock ./
RUN /opt/streamverse/bin/pip install --no-deps --require-hashes -r requirements-image.lock
COPY --from=core /wheels /wheels
RUN /opt/streamverse/bin/pip install --no-deps --no-index /wheels/*.whl
COPY pyproject.toml README.md ./
COPY config config
COPY sdk sdk
COPY ingest ingest
COPY storage storage
COPY live live
COPY gateway gateway
COPY loadtests loadtests
RUN /opt/streamverse/bin/pip install --no-deps --no-build-isolation . \
    && /opt/streamverse/bin/pip uninstall --yes setuptools

# PostgreSQL, in the dev target, refuses to run as root and under a number without a name: hence an account, named by its number below, which Kubernetes can check.
FROM python:3.11-slim AS account
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/streamverse --shell /usr/sbin/nologin streamverse
ENV PATH=/opt/streamverse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    INGEST_DATA_DIR=/var/lib/streamverse/data \
    INGEST_ADMIN_HOST=0.0.0.0
WORKDIR /var/lib/streamverse
USER 10001
# Made here, by its owner: a new volume takes over both.
RUN mkdir data
VOLUME /var/lib/streamverse/data
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/livez', timeout=4)"]
ENTRYPOINT ["streamverse-ingest"]
CMD ["serve"]

FROM built AS built-dev
COPY requirements.lock ./
RUN /opt/streamverse/bin/pip install --no-deps --require-hashes -r requirements.lock

FROM account AS dev
COPY --from=built-dev /opt/streamverse /opt/streamverse
CMD ["serve", "--embedded"]

FROM account
COPY --from=built /opt/streamverse /opt/streamverse
