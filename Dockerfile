# docker build -t datalayer-stripe .
# docker run --env-file datalayer-stripe.env -p 9700:9700 datalayer-stripe
# On several cores: docker run … datalayer-stripe serve --host 0.0.0.0 --processes 2
# For memory:// add an extra: docker build --build-arg EXTRAS=fast,demo -t datalayer-stripe-demo .

FROM python:3.13-slim AS build
ARG EXTRAS="fast"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY . .
RUN pip wheel --no-deps --wheel-dir /dist . \
 && python -m venv /opt/datalayer-stripe \
 && /opt/datalayer-stripe/bin/pip install "$(echo /dist/datalayer_stripe-*.whl)${EXTRAS:+[$EXTRAS]}"

FROM python:3.13-slim
# Use a fixed numeric uid, so that Kubernetes can check runAsNonRoot.
RUN groupadd --gid 10001 datalayer \
 && useradd --uid 10001 --gid datalayer --no-create-home --shell /usr/sbin/nologin datalayer
COPY --from=build /opt/datalayer-stripe /opt/datalayer-stripe
ENV PATH=/opt/datalayer-stripe/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 9700
# http.client ignores the proxy variables of the environment, unlike urllib. If you change the port in
# CMD, change it here too.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9700, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["datalayer-stripe"]
CMD ["serve", "--host", "0.0.0.0"]
