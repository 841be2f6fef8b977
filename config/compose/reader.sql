-- Grafana's role, with the password that it is given here. psql --file, by the owner of the views.

\set ON_ERROR_STOP on
\getenv password READER_PASSWORD

\ir ../grafana/reader.sql
alter role earmark_reader password :'password';
