-- What was heard is kept for some days, so that a recording that is added later can be sought in it.
-- oldest-daemon: 6
--
-- Peaks go on record with each position of a session, some hundred bytes at a time (`kept_group`), so that what was heard is
-- there whatever dies. Every 262 s they are put together: one row with all of them, deflated, and a sketch of their landmarks,
-- by which a hunt sees without reading the peaks whether a recording may be in them. A stream-hour is about a megabyte.
-- What is too old is deleted in batches by `kept_at`: partitions by day would be dropped at once, but need a role that may
-- create tables in a running daemon.

create table kept_group (
  stream_id    text  not null,
  block_s      double precision not null,   -- where in the stream its block begins
  begin_eighth int   not null,              -- within the block, eighths of a frame
  end_eighth   int   not null,
  fingerprint_version int not null,
  peaks        bytea not null,              -- five bytes each: time u16, frequency and "hashed" u16, salience u8
  kept_at      timestamptz not null default now(),
  primary key (stream_id, block_s, begin_eighth)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);   -- rows live for minutes
create index kept_group_age on kept_group (kept_at);

create table kept_block (
  stream_id           text not null,
  begin_s             double precision not null,   -- stream time
  frames              int  not null,               -- at most 8,192
  begin_at            timestamptz,                 -- wall clock, where the stream's is known
  fingerprint_version int  not null,
  sketch              bytea not null,
  peaks               bytea not null,              -- the same peaks as columns, deflated
  kept_at             timestamptz not null default now(),
  primary key (stream_id, begin_s)
);
alter table kept_block alter sketch set storage external, alter peaks set storage external;   -- a hunt reads one of them
create index kept_block_age on kept_block (kept_at);
