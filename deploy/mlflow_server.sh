#!/bin/sh
# `mlflow server` with users in PostgreSQL and artifacts in S3, for team_store.py and compose.yaml. Its secrets, and
# where things are, come from the environment: on the command line, `ps` would show the passwords.
#
# POSTGRES: user:password@host:port; S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, MLFLOW_S3_ENDPOINT_URL;
# MLFLOW_AUTH_ADMIN_PASSWORD; MLFLOW_FLASK_SERVER_SECRET_KEY; TEAM_HOSTS, see docs/team.md. Arguments: host, port.
set -eu
umask 077
MLFLOW_AUTH_CONFIG_PATH=$(mktemp)
export MLFLOW_AUTH_CONFIG_PATH
# EDIT: whoever has a password may log runs to every experiment. Passwords are kept in memory for a minute, because
# checking one takes longer than most requests. psycopg2 is named: MLflow does not work with SQLAlchemy's default.
cat > "$MLFLOW_AUTH_CONFIG_PATH" << END
[mlflow]
default_permission = EDIT
database_uri = postgresql+psycopg2://$POSTGRES/mlflow_users
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
END
export MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://$POSTGRES/mlflow"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-us-east-1}"
exec "${PYTHON:-python}" -m mlflow server --app-name basic-auth --host "$1" --port "$2" --workers 2 \
  --artifacts-destination s3://mlflow --allowed-hosts "localhost:*,127.0.0.1:*${TEAM_HOSTS:+,$TEAM_HOSTS}"
