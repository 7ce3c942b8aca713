# The router, and nothing that it does not run. Used by `confrouter build` with docker, podman or
# buildah; the native builder needs no Dockerfile.
#
# Both stages are the official image of Node 24 (LTS) on Debian 13, pinned by the digest of its index:
# a tag may move, and the image digest is the first link of the chain that a caller verifies.

FROM docker.io/library/node:24.21.0-trixie-slim@sha256:8ec5d7557396cfe32d21c3f9c13072355ceab22b584578ca4bb28af31120cffe AS build
WORKDIR /source
COPY package.json npm-shrinkwrap.json ./
# Install scripts are other people's programs; what the build needs works without them.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN node scripts/build.js

FROM docker.io/library/node:24.21.0-trixie-slim@sha256:8ec5d7557396cfe32d21c3f9c13072355ceab22b584578ca4bb28af31120cffe
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /source/dist/router/router.cjs /app/router.cjs
# Numeric, so that no passwd file decides who it is; nobody's in the base image.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# The program itself, by absolute path, with no shell in front: the policy compares the command word by word.
ENTRYPOINT ["/usr/local/bin/node", "/app/router.cjs"]
CMD []
