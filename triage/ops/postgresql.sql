-- The database of triage and its role, for psql as an administrator: psql --file postgresql.sql
-- The role's password is read from /run/secrets/database, else from the file that PGTRIAGE_PASSWORD_FILE names.
\set password `cat "${PGTRIAGE_PASSWORD_FILE:-/run/secrets/database}"`

-- No right beyond its own database. Each worker takes up to 25 connections: 24 of the pool and one for its lock.
CREATE ROLE triage LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 200;
CREATE DATABASE triage OWNER triage TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE triage FROM PUBLIC;

-- A commit that was reported must be on the disk: a receipt that is forgotten is a ticket that is filed again.
ALTER DATABASE triage SET synchronous_commit = 'on';

-- A worker that stopped in the middle of a transaction must not hold others up. Its lock lives in a connection that is idle for days,
-- outside of a transaction: that one may never be ended for idleness.
ALTER DATABASE triage SET idle_in_transaction_session_timeout = '60s';
ALTER DATABASE triage SET idle_session_timeout = 0;
ALTER DATABASE triage SET lock_timeout = '30s';
ALTER DATABASE triage SET statement_timeout = '5min';

-- A client whose machine is gone holds what it holds until the server notices: within two minutes, not within two hours. Workers ask
-- for 30 seconds by themselves.
ALTER DATABASE triage SET tcp_keepalives_idle = '60s';
ALTER DATABASE triage SET tcp_keepalives_interval = '10s';
ALTER DATABASE triage SET tcp_keepalives_count = 6;
