# One image for the API and the workers; docker-compose.yml says which of the two a container is.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/odefit

# What changes least comes first. TORCH_PIP_OPTIONS says where pip finds another build of torch than its default
# index has, for instance a CPU one, which is several times smaller.
ARG TORCH_PIP_OPTIONS=""
COPY constraints.txt ./
RUN python -m pip install --no-deps -c constraints.txt $TORCH_PIP_OPTIONS torch

COPY pyproject.toml ./
RUN python -c 'import tomllib; print("setuptools", *tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/requirements.txt \
    && python -m pip install -c constraints.txt -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY README.md LICENSE ./
COPY odelib odelib
COPY worker worker
COPY service service
RUN python -m pip install --no-deps --no-build-isolation . \
    && useradd --system --uid 10001 --create-home odefit

USER odefit
WORKDIR /home/odefit
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=4)'
ENTRYPOINT ["odefit"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
