# The image of every Driftline process. The tag moves with the security fixes of Python 3.11, on which the tests run,
# and of Debian 13; whoever wants the same bytes each time adds its digest.
FROM python:3.11-slim-trixie AS build
WORKDIR /src

# What seldom changes comes first: the dependencies as locked. No extras, so no developers' tools, no embedded servers.
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
