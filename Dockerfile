# One image for every role:   docker build -t warmstart .
# A smaller torch without GPU: docker build --build-arg TORCH_INDEX=<the index of torch's CPU wheels> -t warmstart .

FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
WORKDIR /build
RUN python -m venv /opt/warmstart
ENV PATH=/opt/warmstart/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: this layer stays while only our own code changes.
COPY pyproject.toml constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install -c constraints.txt --index-url "$TORCH_INDEX" torch; fi
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt
COPY README.md ./
COPY migrations migrations
COPY workers workers
COPY app app
RUN pip install --no-deps .

FROM python:3.11-slim
# LightGBM needs OpenMP's runtime; tini reaps what killed trials leave.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin warmstart \
    && install --directory --owner warmstart --group warmstart --mode 0700 /data /scratch
COPY --from=build /opt/warmstart /opt/warmstart
ENV PATH=/opt/warmstart/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WARMSTART_DATA_DIR=/data \
    WARMSTART_SCRATCH_DIR=/scratch \
    WARMSTART_HOST=0.0.0.0 \
    WARMSTART_PORT=8765
USER warmstart
WORKDIR /home/warmstart
VOLUME ["/data"]
EXPOSE 8765
ENTRYPOINT ["tini", "--", "warmstart"]
CMD ["api"]
