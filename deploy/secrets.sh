#!/usr/bin/env bash
# Writes a random password to .env for each one that is not set yet. PostgreSQL and
# RabbitMQ apply the passwords at each start (deploy/postgres, deploy/rabbitmq).
set -euo pipefail
cd "$(dirname "$0")/.."
touch .env
chmod 600 .env
for name in POSTGRES_PASSWORD ORDERS_DB_PASSWORD PAYMENTS_DB_PASSWORD RABBITMQ_PASSWORD; do
	grep -q "^$name=" .env || echo "$name=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >> .env
done
