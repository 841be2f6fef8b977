-- What each recording is like, measured once from its sound: loudness, seconds of sound, shares of music and speech, tempo, key.
-- oldest-daemon: 6
--
-- A row is about bytes: where its content_sha256 is not its recording's it says nothing, so what replaces a recording never has
-- its predecessor's profile, whichever daemon replaced it. It is also the queue of what is to be measured.

create table track_profile (
  track_no          int primary key references track on update cascade on delete cascade,
  content_sha256    bytea not null,
  -- what is to be done
  due_at            timestamptz,                  -- null: nothing
  for_features      boolean not null default false,   -- all but tempo and key is measured: only who has the extra has something to do
  attempts          int not null default 0,
  last_error        text not null default '',
  -- what it is like; null: not_computed says why
  version           int not null default 0,       -- of how it is measured; 0: it was not yet
  features          text not null default '',     -- what measured tempo and key; empty: nothing did
  loudness_lufs     real,
  loudness_range_lu real,
  true_peak_dbtp    real,
  sound_s           double precision,
  music_share       real,
  speech_share      real,
  tempo_bpm         real,
  key               text,
  mode              text check (mode in ('major', 'minor')),
  key_fit           real,
  not_computed      jsonb not null default '{}',  -- by column: why
  profiled_at       timestamptz
) with (fillfactor = 80);
create index track_profile_due on track_profile (due_at) where due_at is not null;

-- Whatever object becomes a recording, or gets other bytes, is to be measured, whoever wrote that down.
create function track_profile_turn() returns trigger language plpgsql as $$
begin
  insert into track_profile as p (track_no, content_sha256, due_at)
  select track_no, content_sha256, now() from track where track_id = new.track_id and content_sha256 = new.content_sha256
  on conflict (track_no) do update
     set content_sha256 = excluded.content_sha256, due_at = now(), for_features = false, attempts = 0, last_error = '', version = 0
   where p.content_sha256 <> excluded.content_sha256;
  return null;
end $$;
create trigger catalogue_object_measured after update of track_id, content_sha256 on catalogue_object
  for each row when (new.track_id is not null) execute function track_profile_turn();
insert into track_profile (track_no, content_sha256, due_at)
select t.track_no, t.content_sha256, now() from track t
  join catalogue_object o on o.track_id = t.track_id and o.content_sha256 = t.content_sha256 and o.state = 'kept';
