-- Copies of recordings in other formats, beside the catalogue; and which copies a recording's licence allows.
-- oldest-daemon: 6
--
-- Whatever is written down of an object of the bucket, its copies are to be looked at: its row of `fan_out` is due, whoever
-- wrote it. A copy has its row before its object is sent and until that is deleted, so that nothing lies in a bucket of which
-- nobody knows; its key is of what is in it, so that an object is never another one.

alter table track add column copies text not null default '';   -- none, lossy or lossless; empty: nothing was said, which is lossy

create table fan_out (                         -- an object of the catalogue's bucket that is, or was, a recording
  bucket      text not null,
  key         text collate "C" not null,
  news        bigint not null default 1,       -- raised by all that is to be looked at anew
  due_at      timestamptz default now(),       -- null: nothing is to be done
  worker      text,
  taken_until timestamptz,
  attempts    int not null default 0,
  last_error  text not null default '',        -- why it was put off, or given up; empty: all is well
  listed      text not null default '',        -- the digest of the settings by which it was looked at
  primary key (bucket, key),
  check ((worker is null) = (taken_until is null))
) with (fillfactor = 80);
create index fan_out_due    on fan_out (due_at) where due_at is not null;
create index fan_out_failed on fan_out (bucket, key) where last_error <> '';

create table track_format (                    -- a copy that is wanted, or is there, or may not be
  bucket         text not null,                -- where it is to be
  key            text collate "C" not null,
  of_bucket      text not null,                -- the object that it is a copy of
  of_key         text collate "C" not null,
  content_sha256 bytea not null,               -- of that object
  name           text not null,                -- as the settings call the format
  codec          text not null,
  state          text not null check (state in ('waiting', 'made', 'failed', 'refused', 'unwanted')),
  reason         text not null default '',     -- of what failed, or is refused
  size_bytes     bigint,
  duration_s     double precision,
  rate_hz        int,
  channels       int,
  made_at        timestamptz,
  primary key (bucket, key),
  foreign key (of_bucket, of_key) references fan_out
);
create index track_format_of     on track_format (of_bucket, of_key);
create index track_format_failed on track_format (of_bucket, of_key) where state = 'failed';

create function fan_out_turn() returns trigger language plpgsql as $$
begin
  insert into fan_out (bucket, key) values (new.bucket, new.key)
  on conflict (bucket, key) do update set due_at = now(), news = fan_out.news + 1, attempts = 0;
  perform pg_notify('earmark_catalogue', '');
  return null;
end $$;
create trigger catalogue_object_written after update of track_id on catalogue_object
  for each row when (old.track_id is not null or new.track_id is not null) execute function fan_out_turn();
insert into fan_out (bucket, key) select bucket, key from catalogue_object where track_id is not null;
