-- The role by which Grafana reads PostgreSQL: the views earmark_v_* and nothing else. Again changes nothing.
--
--   psql "$DSN" --file config/grafana/reader.sql --command "alter role earmark_reader password '...'"
--
-- Who runs this may make roles, and owns the views or may grant what is theirs (the role of `earmark db migrate --owner`). On
-- Amazon RDS a token does in place of the password: grant rds_iam to earmark_reader. In another schema than public: `set
-- search_path` before it, and `alter role earmark_reader set search_path` after it.

do $$
declare
  seen text;
begin
  if not exists (select from pg_roles where rolname = 'earmark_reader') then
    create role earmark_reader login connection limit 20;
  end if;
  execute format('grant usage on schema %I to earmark_reader', current_schema());
  for seen in select viewname from pg_views where schemaname = current_schema() and starts_with(viewname, 'earmark_v_') loop
    execute format('grant select on %I to earmark_reader', seen);
  end loop;
end
$$;

-- A dashboard asks for little; what takes longer than this is a mistake, and shall not be the database's.
alter role earmark_reader set statement_timeout = '10s';
alter role earmark_reader set default_transaction_read_only = on;
