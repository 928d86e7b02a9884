# The two commands without anything installed but Docker:
#     docker build -t dcgan-mnist .
#     docker run --name repro dcgan-mnist              # make repro; results: docker cp repro:/home/dcgan/project/samples .
#     docker run --rm dcgan-mnist test                 # make test
FROM python:3.12-slim-bookworm

# git: DVC, provenance and the tests need it. make: the commands.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 dcgan \
    && install --directory --owner=dcgan --group=dcgan /home/dcgan/project

USER 1000
WORKDIR /home/dcgan/project

# First what changes rarely: the packages, about 6 GB.
COPY --chown=dcgan requirements.txt install.py ./
# The last command makes `make` keep this environment, and yet install the project into it.
RUN python -m venv .venv \
    && UV_NO_CACHE=1 .venv/bin/python install.py requirements.txt \
    && touch --date=@0 .venv/ready

COPY --chown=dcgan . .
RUN git config --global user.name dcgan \
    && git config --global user.email dcgan@localhost \
    && make .venv/ready

ENTRYPOINT ["make"]
CMD ["repro"]
