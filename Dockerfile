# docker build -t datalayer-stripe .
# docker run --env-file datalayer-stripe.env -p 9700:9700 datalayer-stripe
# docker build --build-arg EXTRAS=demo -t datalayer-stripe-demo . adds what memory:// needs.

FROM python:3.13-slim AS build
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY . .
RUN pip wheel --no-deps --wheel-dir /dist . \
 && python -m venv /opt/datalayer-stripe \
 && /opt/datalayer-stripe/bin/pip install "$(echo /dist/datalayer_stripe-*.whl)${EXTRAS:+[$EXTRAS]}"

FROM python:3.13-slim
# A fixed uid, so that a cluster can require a user who is not root.
RUN groupadd --gid 10001 datalayer \
 && useradd --uid 10001 --gid datalayer --no-create-home --shell /usr/sbin/nologin datalayer
COPY --from=build /opt/datalayer-stripe /opt/datalayer-stripe
ENV PATH=/opt/datalayer-stripe/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 9700
# Not urllib, which would ask the proxy that the environment names. Change the port here with CMD's.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9700, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["datalayer-stripe"]
CMD ["serve", "--host", "0.0.0.0"]
