-- Which streams are wanted, who listens, what was heard, and what still has to leave.
-- oldest-daemon: 1
-- Expand-then-contract: the runner keeps, per migration, the oldest daemon that may run on it.

create table stream (
  stream_id      text primary key,
  source         text not null check (source in ('ivs', 'medialive', 'hls', 'file')),
  channel_arn    text,
  channel_name   text not null default '',  -- static streams: the name in the settings
  session_id     text,
  url            text,                      -- medialive: s3://bucket/prefix, what the run's archive files begin with
  tags           jsonb not null default '{}',
  started_at     timestamptz,               -- by the source's own word: the event's time
  wanted_at      timestamptz,               -- a start was heard; null: only its end was, so far
  stop_at        timestamptz,               -- an end was heard
  stop_reason    text,
  unlisted_at    timestamptz,               -- since when a sweep has missed it among the live streams
  state          text not null default 'wanted' check (state in ('wanted', 'running', 'ended', 'quarantined')),
  owner          text,                      -- worker name; null: nobody
  lease_until    timestamptz,
  fencing        bigint not null default 0, -- raised by every claim
  claimed_at     timestamptz,               -- when the present or last owner took it
  attempts       int not null default 0,    -- claims without a clean hand-over since the last ten minutes of survival
  failures       int not null default 0,    -- runs that failed since then: the exponent of the back-off
  not_before     timestamptz not null default now(),   -- back-off between restarts
  last_error     text not null default '',
  checkpoint     jsonb,
  heard_at       timestamptz,               -- last commit of the session
  end_reason     text,                      -- why its session ended (model.EndReason)
  ended_at       timestamptz,
  created_at     timestamptz not null default now(),
  check ((owner is null) = (lease_until is null))
) with (fillfactor = 70);                   -- renewals and checkpoints rewrite rows in place
-- What may be claimed: few rows, whatever the history's length.
create index stream_claimable on stream (not_before) where state in ('wanted', 'running') and wanted_at is not null;
create index stream_channel on stream (channel_arn, created_at desc);
create index stream_owner on stream (owner) where owner is not null;
create index stream_quarantined on stream (stream_id) where state = 'quarantined';
-- Whose archive file is this? Asked with every beginning of the file's address.
create index stream_place on stream (url) where url is not null;

create table medialive_channel (            -- MediaLive runs have no identity of their own: what was last heard of the channel tells them apart
  channel_arn text primary key,
  running_at  timestamptz not null default '1970-01-01Z',
  stopped_at  timestamptz not null default '1970-01-01Z'
);

create table inbox (                        -- archive segments that arrived for a stream, whoever got the message
  stream_id   text,                         -- null: no stream is known for it (yet)
  bucket      text not null,
  key         text not null,
  version     text not null default '',     -- S3's version id, if the bucket keeps versions
  sequencer   text not null default '',     -- tells apart two objects under one key where it does not
  size        bigint not null default 0,
  counter     int not null default 0,       -- the six digits of the archive file's name
  made_at     timestamptz,                  -- when S3 had it, by the event
  arrived_at  timestamptz not null default now(),
  heard_at    timestamptz,                  -- taken by the session; null: waiting
  address     text collate "C" generated always as ('s3://' || bucket || '/' || key) stored,
  primary key (bucket, key, version, sequencer)
);
create index inbox_waiting on inbox (stream_id, counter, key) where heard_at is null;
create index inbox_homeless on inbox (address) where stream_id is null;
create index inbox_arrived on inbox (arrived_at);

create table sweep (                        -- whose turn it is: one worker of all sweeps per interval
  kind     text primary key,
  swept_at timestamptz not null
);

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
