# The agent's image: the runtime, the C library it needs, and our files. No shell, no package manager.
#
#   docker build -t rollcall .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/rollcall:TAG --push .
#
# The base has to bring npm and, since the C library is taken from it, has to be Debian or Ubuntu. Pin it by digest
# (--build-arg BUILD_BASE=node:24-bookworm-slim@sha256:…) for a build that can be repeated: all else, the Node that ends
# up in the image included, is bound by package-lock.json. The network is needed for the npm registry only.
ARG BUILD_BASE=node:24-bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY runtime runtime
RUN npm ci --ignore-scripts --no-progress --loglevel=error
COPY tsconfig*.json ./
COPY scripts/build.mjs scripts/
COPY scripts/lib/node.sh scripts/lib/third-party.mjs scripts/lib/*.cjs scripts/lib/*-code.ts scripts/lib/*-etcd.ts scripts/lib/
COPY src src
RUN . scripts/lib/node.sh && "$node" scripts/build.mjs
# What the runtime is linked against, under its own paths; ldd names what the loader finds on this architecture.
RUN set -eu; \
    . scripts/lib/node.sh; \
    mkdir -p root/usr/bin root/usr/lib/rollcall root/etc; \
    cp "$node" root/usr/bin/node; \
    cp dist/*.cjs dist/*.cjs.LEGAL.txt dist/rollcall.code dist/board.html.gz dist/THIRD-PARTY.md root/usr/lib/rollcall/; \
    # So that docker exec rollcall rollcall list does what it says; there is no env to find the runtime.
    printf '#!/usr/bin/node --disable-warning=ExperimentalWarning\nrequire("/usr/lib/rollcall/start.cjs");\n' >root/usr/bin/rollcall; \
    ldd "$node" | grep -o '/[^ ]*' | while read -r library; do cp --parents --dereference "$library" root/; done; \
    echo 'hosts: files dns' >root/etc/nsswitch.conf; \
    chmod -R go=rX,u=rwX root; chmod 755 root/usr/bin/node root/usr/bin/rollcall; find root -name 'ld-linux*' -exec chmod 755 {} +; \
    root/usr/bin/node root/usr/lib/rollcall/start.cjs --version

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rollcall" \
      org.opencontainers.image.description="Every ECS node answers the roll: publishes its identity and health to a shared store" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /build/root/ /
# Any user will do: the agent writes nothing (but a sqlite: store), and needs no entry in a passwd file.
USER 65532:65532
# The runtime is PID 1 and handles the signals. Small before fast, as scripts/rollcall starts it from a checkout.
ENTRYPOINT ["/usr/bin/node", "--disable-warning=ExperimentalWarning", "--max-semi-space-size=1", \
            "/usr/lib/rollcall/start.cjs"]
CMD ["agent"]
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s --retries=3 \
  CMD ["/usr/bin/node", "/usr/lib/rollcall/start.cjs", "health"]
