-- The reference catalogue: which recordings there are, their constellations, and where each hash occurs in them.
-- oldest-daemon: 1
--
-- A recording is cut into docs of 8,192 frames (262 s), so that a place in one fits 13 bits. Its postings lie in
-- `recent`, a row each, until a compaction packs them into a run: an immutable sorted batch at six bytes a posting.
-- What is replaced or removed is only marked here (`doc.retired_at`); readers drop it, and compactions leave it out.

create table catalogue_version (
  one                 boolean primary key default true check (one),
  fingerprint_version int  not null,
  hash_bits           int2 not null,
  frame_bits          int2 not null
);

create table track (
  track_no            int generated always as identity primary key,   -- a new one whenever its content is replaced
  track_id            text not null unique check (track_id <> ''),
  title               text not null default '',
  artists             text[] not null default '{}',
  album               text not null default '',
  label               text not null default '',
  isrc                text[] not null default '{}',
  iswc                text[] not null default '{}',
  upc                 text[] not null default '{}',
  rights_holder       text not null default '',
  duration_s          double precision not null,
  fingerprint_version int not null,
  content_sha256      bytea not null,             -- of the file it came from: the same again changes nothing
  peaks_sha256        bytea not null,             -- of its constellation: the same audio under other tags
  added_at            timestamptz not null default now(),
  changed_at          timestamptz not null default now()
);
create index track_content on track (content_sha256);
create index track_peaks   on track (peaks_sha256);

create table doc (                                -- one version of 8,192 frames of a recording: the forward copy
  doc_id       int generated always as identity primary key,
  track_no     int  not null,                     -- no foreign key: a retired doc outlives its track by an hour
  part         int2 not null,
  first_frame  int  not null,                     -- part * 8192; a place in the recording = first_frame + frame
  frames       int  not null,
  postings     int  not null,
  slice_starts int[] not null,                    -- 33: how many peaks lie before each slice of 256 frames (8.2 s)
  peaks        bytea not null,                    -- u32 LE each: time (16, 1/8 frame) | frequency (15, 1/8 Hz) | hashed (1)
  packed       boolean not null default false,    -- its postings are in a run; false: still in `recent`
  retired_at   timestamptz,
  changed_xid  xid8 not null default pg_current_xact_id()   -- added or retired by: how readers follow
);
alter table doc alter peaks set storage external; -- uncompressed: substring() reads only the pages it needs
create unique index doc_live     on doc (track_no, part) where retired_at is null;
create index        doc_changed  on doc (changed_xid);
create index        doc_unpacked on doc (doc_id) where not packed;
create index        doc_retired  on doc (retired_at) where retired_at is not null;

create table recent (                             -- a row per posting, only of docs not packed yet
  hash   int  not null,
  doc_id int  not null,
  frame  int2 not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
create index recent_hash on recent (hash) include (doc_id, frame);

create table run (                                -- docs of one span of 2^19 doc_ids
  run_id   int generated always as identity primary key,
  low_bits int2   not null,                       -- bucket = hash >> low_bits, 0 to 16
  doc_base int    not null,                       -- doc_id = doc_base + doc_in_span
  postings bigint not null,
  built_at timestamptz not null default now()
);

create table block (                              -- a piece of a bucket, at most 2,000 bytes: never TOASTed
  run_id  int   not null,
  bucket  int   not null,
  part    int2  not null,
  low     bytea not null,                         -- per posting the hash's low bits, u8 if low_bits <= 8 else u16 LE; sorted
  posting bytea not null,                         -- per posting u32 LE: doc_in_span (19) | frame (13)
  primary key (run_id, bucket, part)
) with (toast_tuple_target = 2040);
alter table block alter low set storage plain, alter posting set storage plain;
