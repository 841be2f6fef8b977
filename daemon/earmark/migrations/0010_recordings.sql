-- What IVS records of its streams, and sessions that hear it afterwards: whole, or where the stream's own session has gaps.
-- oldest-daemon: 6

create table recording (
  place       text primary key,               -- s3://bucket/prefix, without a slash at its end
  channel_arn text not null,
  stream_ids  text[] not null,                -- several where IVS merged fragments
  started_at  timestamptz,                    -- by the event of its start, or reckoned back from that of its end
  ended_at    timestamptz,                    -- null: it still grows, as far as is known
  told_at     timestamptz not null default now()
);
create index recording_streams on recording using gin (stream_ids);
create index recording_told on recording (told_at);

-- Sessions that have no hurry. `wanted_at` stays null, so that daemons that know nothing of them leave them alone, and so
-- that they are no reason to add workers.
alter table stream add column background boolean not null default false;
alter table stream add column parent text references stream on delete cascade;  -- the session whose gaps it hears; null: all of the recording
alter table stream add column unheard jsonb;                                     -- the parent's gaps, as they were when it was opened
create index stream_background on stream (not_before) where background and state in ('wanted', 'running');
create index stream_parent on stream (parent) where parent is not null;
