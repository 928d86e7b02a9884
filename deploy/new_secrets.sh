#!/bin/sh
# New random secrets for a team's store, as lines of an environment file: deploy/new_secrets.sh > team.env
set -eu
for name in POSTGRES_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MLFLOW_AUTH_ADMIN_PASSWORD \
  MLFLOW_FLASK_SERVER_SECRET_KEY; do
  echo "$name=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')"
done
