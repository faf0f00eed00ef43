# The image of every Driftline process: the Python on which the tests run, on Debian 13. `python deploy/digests.py` adds
# the digest to each tag, for images that are the same to the byte.
FROM python:3.11.14-slim-trixie AS build
WORKDIR /src

# The locked dependencies come first, since they seldom change. No extras: no developers' tools, no embedded servers.
COPY requirements-build.lock requirements-run.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-build.lock \
    && python -m venv --without-pip /opt/driftline \
    && pip --python /opt/driftline/bin/python install --no-cache-dir --require-hashes --requirement requirements-run.lock

COPY pyproject.toml README.md LICENSE ./
COPY detectors detectors
COPY stream stream
COPY driftline driftline
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
    && pip --python /opt/driftline/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.11.14-slim-trixie
COPY --from=build /opt/driftline /opt/driftline
ENV PATH=/opt/driftline/bin:$PATH
USER 10001:10001
ENTRYPOINT ["driftline"]
