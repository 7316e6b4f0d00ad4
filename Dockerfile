# Vaartha in a container, for amd64 and arm64. It wants the host's network (docker-compose.yml says how): mDNS and media need it.

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image's own Node is the pinned one here, so the npm package of 120 MB that brings Node is left out.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node node_modules/.bin/node

FROM packages AS web
COPY src/cli src/cli
COPY src/web src/web
RUN node src/web/build.mjs

# Only what the worker is made of is copied, so that another change does not cost the two minutes again.
FROM packages AS worker
COPY docker/build-worker.mjs docker/build-worker.mjs
COPY src/media/worker src/media/worker
RUN node docker/build-worker.mjs /app/mediasoup-worker

FROM node:24-bookworm-slim AS sources
WORKDIR /app
COPY package.json LICENSE ./
COPY config config
COPY docker docker
COPY src src
# A clone made under a strict umask has to be readable for the user `node` as well.
RUN chmod -R a+rX .

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Vaartha" \
  org.opencontainers.image.description="Self-hosted voice, meeting and message server" \
  org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
  NODE_OPTIONS="--disable-warning=ExperimentalWarning --expose-gc" \
  NODE_COMPILE_CACHE=/var/cache/vaartha \
  MEDIASOUP_WORKER_BIN=/usr/local/lib/vaartha/mediasoup-worker \
  VAARTHA_DATA=/data
WORKDIR /app
# What the media worker is linked with; the names hold for this release of Debian, which is the one that it is built on.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libabsl20220623 libsrtp2-1 libssl3 libusrsctp2 libuv1 \
  && rm -rf /var/lib/apt/lists/*
# /data belongs to the user `node` (1000) before the volume is declared, and a new named volume inherits that.
RUN install -d -o node -g node -m 0700 /data \
  && install -d -o node -g node /var/cache/vaartha \
  && ln -s /app/docker/vaartha /usr/local/bin/vaartha
COPY --from=packages /app/node_modules node_modules
COPY --from=sources /app ./
COPY --from=web /app/dist dist
COPY --from=worker /app/mediasoup-worker /usr/local/lib/vaartha/mediasoup-worker
# Started by nobody it ends with 41; a library that is missing would be another status.
RUN /usr/local/lib/vaartha/mediasoup-worker || test $? -eq 41
USER node
# Compiles every source once, so that the first start is as quick as the second.
RUN node src/cli/warm-up.mjs >/dev/null
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=20s --timeout=5s --start-period=20s --retries=3 CMD ["node", "docker/healthcheck.mjs"]
ENTRYPOINT ["node", "/app/src/main.ts"]
CMD ["serve"]
