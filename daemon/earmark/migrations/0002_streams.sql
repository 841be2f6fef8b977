-- Which streams are wanted, who listens, what was heard, and what still has to leave.
-- Expand-then-contract: the runner keeps, per migration, the oldest daemon that may run on it.

create table stream (
  stream_id      text primary key,
  source         text not null check (source in ('ivs', 'medialive', 'hls', 'file')),
  channel_arn    text,
  channel_name   text not null default '',
  session_id     text,
  url            text,
  tags           jsonb not null default '{}',
  started_at     timestamptz,               -- by the source's own word: the event's time
  wanted_at      timestamptz,               -- a start was heard; null: only its end was, so far
  stop_at        timestamptz,               -- an end was heard
  stop_reason    text,
  state          text not null default 'wanted' check (state in ('wanted', 'running', 'ended', 'quarantined')),
  owner          text,                      -- worker name; null: nobody
  lease_until    timestamptz,
  fencing        bigint not null default 0, -- raised by every claim
  attempts       int not null default 0,    -- claims without a clean hand-over since the last ten minutes of survival
  not_before     timestamptz not null default now(),   -- back-off between restarts
  last_error     text not null default '',
  checkpoint     jsonb,
  heard_at       timestamptz,               -- last commit of the session
  ended_at       timestamptz,
  created_at     timestamptz not null default now(),
  check ((owner is null) = (lease_until is null))
);
-- What may be claimed: few rows, whatever the history's length.
create index stream_claimable on stream (not_before) where state in ('wanted', 'running') and wanted_at is not null;
create index stream_channel on stream (channel_arn, created_at desc);
create index stream_owner on stream (owner) where owner is not null;

create table inbox (                        -- archive segments that arrived for a stream, whoever got the message
  stream_id   text not null,
  bucket      text not null,
  key         text not null,
  version     text not null default '',
  size        bigint not null default 0,
  counter     int not null default 0,       -- the six digits of the archive file's name
  arrived_at  timestamptz not null default now(),
  heard_at    timestamptz,                  -- taken by the session; null: waiting
  primary key (stream_id, bucket, key, version)
);
create index inbox_waiting on inbox (stream_id, counter, key) where heard_at is null;

create table play (                         -- one row per play, newest revision
  hit_id      text primary key,
  stream_id   text not null references stream,
  track_id    text not null,
  revision    int not null,
  state       text not null check (state in ('provisional', 'open', 'closed')),
  begin_s     double precision not null,
  end_s       double precision not null,
  body        jsonb not null,               -- the hit, as in config/schema/hit.v1.json
  fencing     bigint not null,
  opened_at   timestamptz not null default now(),
  updated_at  timestamptz not null default now()
);
create index play_stream on play (stream_id, begin_s);

create table outbox (
  outbox_id    bigint generated always as identity primary key,
  stream_id    text not null,
  target       text not null check (target in ('s3', 'sns')),
  key          text not null,               -- S3 key; SNS: hit_id
  revision     bigint not null,             -- an older one never overwrites a newer one
  content_type text not null default 'application/json',
  body         text not null,
  attributes   jsonb not null default '{}', -- SNS message attributes and subject
  after_id     bigint,                      -- the outbox row that must have left first (S3 before SNS)
  created_at   timestamptz not null default now(),
  due_at       timestamptz not null default now(),
  taken_until  timestamptz,                 -- a publisher works on it until then
  attempts     int not null default 0,
  last_error   text not null default '',
  dead_at      timestamptz                  -- given up; `earmark outbox retry` brings it back
);
-- Rows that have left are deleted: the table is as long as what is owed.
create index outbox_due on outbox (due_at) where dead_at is null;
create index outbox_key on outbox (target, key);
