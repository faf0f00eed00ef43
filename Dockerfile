# The image of every Driftline process. Its tag follows the security fixes of Python 3.11, on which the tests run,
# and of Debian 13; add its digest for reproducible images.
FROM python:3.11-slim-trixie AS build
WORKDIR /src

# The locked dependencies come first, since they seldom change. No extras: no developers' tools, no embedded servers.
COPY pyproject.toml requirements.lock ./
RUN pip install --no-cache-dir --constraint requirements.lock uv \
    && python -m venv --without-pip /opt/driftline \
    && uv pip install --no-cache --compile-bytecode --python /opt/driftline \
        --requirements pyproject.toml --constraints requirements.lock

COPY README.md LICENSE ./
COPY detectors detectors
COPY stream stream
COPY driftline driftline
RUN uv pip install --no-cache --compile-bytecode --python /opt/driftline --no-deps .

FROM python:3.11-slim-trixie
COPY --from=build /opt/driftline /opt/driftline
ENV PATH=/opt/driftline/bin:$PATH
USER 10001:10001
ENTRYPOINT ["driftline"]
