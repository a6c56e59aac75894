# docker build -t datalayer-stripe .        (`make image` adds the labels of version and revision)
# docker run --read-only --env-file datalayer-stripe.env -p 127.0.0.1:9700:9700 datalayer-stripe
# On several cores, with a folder for the metrics of all processes:
#   docker run --read-only --tmpfs /tmp … datalayer-stripe serve --host 0.0.0.0 --processes 2
# For memory:// add an extra: docker build --build-arg EXTRAS=fast,demo -t datalayer-stripe-demo .
# docs/deployment.md has the rest.

# The digest is that of the index, which has the image of each platform. Dependabot updates it.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

FROM base AS build
ARG EXTRAS="fast,otel"
# Compiled files do not contain the time of the build if this is set. No zip file is older than 1980.
ARG SOURCE_DATE_EPOCH=315532800
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock ./
# The lock file has a hash of each file. Wheels only, so that no package runs code here.
RUN python -m pip download --quiet --require-hashes --no-deps --only-binary :all: \
      --dest wheels --requirement requirements.lock
COPY setup.py pyproject.toml LICENSE README.md ./
COPY conf ./conf
COPY datalayer_stripe ./datalayer_stripe
COPY labextension ./labextension
COPY plugins ./plugins
# Everything comes from the checked files: --no-index fails if the lock file lacks a package.
RUN python -m pip wheel --quiet --no-index --find-links wheels --no-deps --wheel-dir dist . \
 && python -m venv --without-pip /opt/datalayer-stripe \
 && python -m pip --python /opt/datalayer-stripe/bin/python install --quiet --no-index \
      --find-links wheels "$(echo dist/datalayer_stripe-*.whl)${EXTRAS:+[$EXTRAS]}"

FROM base
ARG SOURCE_DATE_EPOCH=315532800
# Use a fixed numeric uid, so that Kubernetes can check runAsNonRoot.
RUN groupadd --gid 10001 datalayer \
 && useradd --uid 10001 --gid datalayer --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin datalayer
COPY --from=build /opt/datalayer-stripe /opt/datalayer-stripe
ENV PATH=/opt/datalayer-stripe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="datalayer-stripe" \
      org.opencontainers.image.description="Sell prepaid credits with Stripe" \
      org.opencontainers.image.source="https://github.com/datalayer/datalayer-stripe" \
      org.opencontainers.image.documentation="https://github.com/datalayer/datalayer-stripe/blob/main/docs/deployment.md" \
      org.opencontainers.image.vendor="Datalayer" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 10001:10001
EXPOSE 9700
# http.client ignores the proxy variables of the environment, unlike urllib. If you change the port in
# CMD, change it here too.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9700, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["datalayer-stripe"]
CMD ["serve", "--host", "0.0.0.0"]
