FROM python:3.11-slim

# for OpenCV
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 curator \
    && mkdir /data \
    && chown curator:curator /data
WORKDIR /home/curator/forgetme

# before the code, so that a change of code does not install everything again
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt \
    "psycopg[binary]>=3.2,<4" "torch-fidelity>=0.4,<0.5"

COPY --chown=curator:curator . .
USER curator
ENV PYTHONUNBUFFERED=1 GRADIO_ANALYTICS_ENABLED=False

# everything that is decided: keep it outside the container, -v forgetme:/data
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health', timeout=8)"]

# A container's port is reached from outside it, so the page wants accounts. Make the first lead:
#   docker run --rm -it -v forgetme:/data --entrypoint python IMAGE \
#     -m forgetme people add NAME --role lead --store /data/store
ENTRYPOINT ["python", "app.py", "--store", "/data/store", "--host", "0.0.0.0"]
