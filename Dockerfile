# One image for the API and the workers; docker-compose.yml chooses between them.

FROM python:3.11-slim AS dependencies
ENV PATH=/opt/odefit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 10001 --home-dir /var/lib/odefit --create-home odefit && python -m venv /opt/odefit
# pip's own variables, from the environment of the build: other places to look for packages, for instance for a CPU
# build of torch, which is several times smaller than the one in pip's default index.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
# What changes least comes first. Dependencies are installed without the code, so that a change of the code does not
# install them again.
COPY constraints.txt /tmp/
RUN python -m pip install --no-deps -c /tmp/constraints.txt torch
COPY pyproject.toml /tmp/
RUN cd /tmp \
    && python -c 'import tomllib; print("setuptools", *tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > requirements.txt \
    && python -m pip install -c constraints.txt -r requirements.txt \
    && rm constraints.txt pyproject.toml requirements.txt

FROM dependencies AS code
# .dockerignore lets in only the packages and the files that describe them.
COPY . /tmp/odefit
RUN python -m pip install --no-deps --no-build-isolation --prefix /opt/code /tmp/odefit

# Two layers: the dependencies and the code. They start from scratch because in a base image that was imported from a
# folder (Podman, LXC) only root may be able to read the root directory, and no layer above can change that.
FROM scratch
ENV PATH=/opt/odefit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER odefit
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=4)'
ENTRYPOINT ["odefit"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
COPY --from=dependencies / /
COPY --from=code /opt/code /opt/odefit
