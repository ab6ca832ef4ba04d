# syntax=docker/dockerfile:1
# One image for the web site and for every kind of worker.

FROM node:22-bookworm-slim AS player
WORKDIR /player
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt build
COPY pyproject.toml README.md LICENSE package-lock.json ./
COPY streamarchive streamarchive
COPY workers workers
COPY web web
COPY tools/assets.py tools/assets.py
COPY --from=player /player/node_modules/hls.js /hls.js
RUN python tools/assets.py --player /hls.js && python -m build --wheel --outdir /wheels

FROM python:3.11-slim-bookworm
# The index of PyTorch's builds: CPU by default; https://download.pytorch.org/whl/cu130 for NVIDIA devices.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home streamarchive \
    && install -d -o streamarchive -g streamarchive /archive /home/streamarchive/.cache
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" \
    "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /tmp/wheels/*.whl)[demo,s3]"
USER streamarchive
WORKDIR /home/streamarchive
ENV STREAMARCHIVE_DATA_DIR=/archive
VOLUME ["/archive", "/home/streamarchive/.cache"]
EXPOSE 8080
ENTRYPOINT ["streamarchive"]
CMD ["serve", "--host", "0.0.0.0"]
