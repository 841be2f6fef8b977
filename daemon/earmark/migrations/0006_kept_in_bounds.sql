-- Every second accounted for, by the database's own word; nothing kept for longer than the settings say.
-- oldest-daemon: 5

alter table stream add column deaths_alone int not null default 0;         -- deaths of the child process that ran it alone
alter table stream add column adopted boolean not null default false;      -- medialive: its start was seen, not announced; a late announcement is this run's

-- heard + gaps = position, within half a frame of the fingerprint (256 samples at 8 kHz are a frame); gaps in order, apart
-- from one another, within the session, each with its reason. Numbers of jsonb are exact decimals, and so is their sum.
create function coverage_adds_up(checkpoint jsonb) returns boolean language plpgsql immutable parallel safe as $$
declare
  heard_s    numeric := coalesce((checkpoint->'heard_s')::numeric, 0);
  position_s numeric := coalesce((checkpoint->'position_s')::numeric, 0);
  gaps       jsonb   := coalesce(checkpoint->'gaps', '[]');
  gaps_s     numeric := 0;
  in_order   boolean := true;
begin
  if gaps <> '[]' then
    select sum(end_s - begin_s), bool_and(begin_s >= before_s and end_s > begin_s and end_s <= position_s and reason)
      into gaps_s, in_order
      from (select begin_s, end_s, reason, lag(end_s, 1, 0::numeric) over () as before_s
              from (select (gap->'begin_s')::numeric as begin_s, (gap->'end_s')::numeric as end_s, coalesce(gap->>'reason', '') <> '' as reason
                      from jsonb_array_elements(gaps) gap) of_json) in_line;
  end if;
  return coalesce(in_order and heard_s >= 0 and abs(heard_s + gaps_s - position_s) < 0.016, false);
end $$;

-- A column keeps what the function said, so that it is asked only when a checkpoint is written, not with each renewal.
alter table stream add column accounted boolean generated always as (coverage_adds_up(checkpoint)) stored;
-- What was put on record before this was asked for stays as it is, and says so: a row that fails a constraint could not
-- even be renewed, stopped or ended any more.
alter table stream add column unaccounted_before boolean not null default false;
update stream set unaccounted_before = true where not accounted;
alter table stream add constraint stream_coverage check (accounted or unaccounted_before);

-- What is old is found without looking at what is not.
create index stream_ended on stream (ended_at) where state = 'ended';
create index stream_unannounced on stream (created_at) where wanted_at is null;
create index play_evidence on play (updated_at) where evidence is not null;
create index inbox_stream on inbox (stream_id);
create index outbox_dead on outbox (dead_at) where dead_at is not null;
create index outbox_stream on outbox (stream_id);
-- Of which runs was no stop heard? Asked each minute.
create index stream_unstopped on stream (channel_arn) where source = 'medialive' and stop_at is null;
