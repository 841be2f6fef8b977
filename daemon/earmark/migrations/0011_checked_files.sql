-- Stored files that are heard once: which object each of their sessions is about, so that the same object again, whoever
-- tells of it and however often, changes nothing; and results that leave for the place of the file, not for that of results.
-- oldest-daemon: 6

create table checked_file (
  stream_id  text primary key references stream on delete cascade,
  file_no    bigint generated always as identity,  -- of those under one key the greatest is the one that is there
  bucket     text not null,
  key        text not null,
  version    text not null default '',     -- S3's version id, if the bucket keeps versions
  etag       text not null default '',     -- of its bytes; empty until it is asked for
  sequencer  text not null default '',     -- the event's; a listing has none
  size       bigint not null default 0,
  made_at    timestamptz not null,         -- when S3 had it, by the event or the listing
  created_at timestamptz not null default now()
);
create index checked_file_object on checked_file (bucket, key);

-- Documents that go beside the file that they are about: `check.place` names the bucket. Older daemons leave them to others.
alter table outbox drop constraint outbox_target_check;
alter table outbox add constraint outbox_target_check check (target in ('s3', 'sns', 'check'));
