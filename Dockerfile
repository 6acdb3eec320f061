# One image for the API and the workers; docker-compose.yml says which of the two a container is.
FROM python:3.11-slim

ENV PATH=/opt/odefit/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
EXPOSE 8000
ENTRYPOINT ["odefit"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=4)'
RUN useradd --uid 10001 --home-dir /var/lib/odefit --create-home odefit \
    && python -m venv /opt/odefit
WORKDIR /opt/odefit/src

# pip's own variables, from the environment of whoever builds: where else to look for packages, for instance for a
# build of torch for CPUs alone, which is several times smaller than the one in pip's default index.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS

# What changes least comes first.
COPY constraints.txt ./
RUN python -m pip install --no-deps -c constraints.txt torch

# Dependencies without the code, so that a change of the code does not install them again.
COPY pyproject.toml ./
RUN python -c 'import tomllib; print("setuptools", *tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/requirements.txt \
    && python -m pip install -c constraints.txt -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# .dockerignore lets nothing in but the packages and what describes them.
COPY . .
RUN python -m pip install --no-deps --no-build-isolation .

USER odefit
