-- The catalogue as its bucket has it: an object a row, with what was last heard of it, what is to be done about it, and
-- what it is in the catalogue; and what owners say about the rights in a recording.
-- oldest-daemon: 6
--
-- An event only says that there is news of a key; what is so, the bucket is asked. A row stays a while after its object is
-- gone, so that events that come late are known for what they are.

alter table track add column policy      text   not null default '';    -- track, allow, warn or block; empty: nothing was said
alter table track add column territories text[] not null default '{}';  -- ISO 3166-1 codes, WW, exclusions as -XX; none: nothing was said
alter table track add column valid_from  text   not null default '';    -- RFC 3339 in UTC, as `earmark.metadata` writes it: texts sort as times
alter table track add column valid_to    text   not null default '';    -- the first moment at which it holds no more; empty: for ever

create table catalogue_object (
  bucket         text not null,
  key            text collate "C" not null,
  kind           text not null check (kind in ('audio', 'sidecar', 'manifest')),
  stem           text collate "C" generated always as (regexp_replace(key, '\.[^./]*$', '')) stored,
  -- what was heard of it last
  sequencer      text collate "C" not null default '',   -- S3's, brought to one length: texts sort as events
  version        text not null default '',
  happened_at    timestamptz,                            -- by the event; null: a listing told of it
  news           bigint not null default 1,              -- raised by all that is to be taken up anew
  -- what is to be done
  due_at         timestamptz default now(),              -- null: nothing
  look           boolean not null default true,          -- the bucket has to be asked; false: it is described otherwise, that is all
  worker         text,
  taken_until    timestamptz,
  attempts       int not null default 0,
  last_error     text not null default '',
  -- what it is
  state          text not null default 'new' check (state in ('new', 'kept', 'rejected', 'gone')),
  etag           text not null default '',
  size           bigint not null default 0,
  content_sha256 bytea,                                  -- of audio whose sound is known: the same again changes nothing
  tags           jsonb,                                  -- of audio: what the file says of itself
  said           jsonb,                                  -- of a sidecar: what it says
  track_id       text unique,                            -- the recording that it is in the catalogue
  reasons        text[] not null default '{}',
  rejected_at    timestamptz,
  blocked_by     text,                                   -- the recording that has its place: when that goes, it is its turn
  noticed        boolean not null default false,         -- there is an object under _rejected/ that says so
  done_at        timestamptz,
  unlisted_at    timestamptz,                            -- the listing of that time lacked it
  primary key (bucket, key),
  check ((worker is null) = (taken_until is null))
) with (fillfactor = 80);
create index catalogue_object_due      on catalogue_object ((kind = 'audio'), due_at, key) where due_at is not null;  -- in the order in which they are taken up
create index catalogue_object_stem     on catalogue_object (bucket, stem) where kind = 'audio';
create index catalogue_object_rejected on catalogue_object (bucket, key) where state = 'rejected';
create index catalogue_object_blocked  on catalogue_object (blocked_by) where blocked_by is not null;
create index catalogue_object_unlisted on catalogue_object (unlisted_at) where unlisted_at is not null;

create table catalogue_said (                            -- what manifests say: a row for each object that one describes
  bucket   text not null,
  key      text collate "C" not null,
  manifest text collate "C" not null,
  said     jsonb not null,
  primary key (bucket, key, manifest)
);
create index catalogue_said_manifest on catalogue_said (bucket, manifest);

-- Whoever takes a recording out makes room for an object that claims its place.
create function catalogue_object_turn() returns trigger language plpgsql as $$
begin
  update catalogue_object set due_at = now(), news = news + 1, attempts = 0 where blocked_by = old.track_id;
  if found then perform pg_notify('earmark_catalogue', ''); end if;
  return null;
end $$;
create trigger track_gone    after delete             on track for each row execute function catalogue_object_turn();
create trigger track_renamed after update of track_id on track for each row when (old.track_id <> new.track_id) execute function catalogue_object_turn();
