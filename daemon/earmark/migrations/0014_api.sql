-- The HTTP API: who may ask, and what was promised a place in the bucket.
-- oldest-daemon: 6

create table api_token (
  token_id     text primary key,              -- the part of a token that is no secret
  name         text not null check (name <> ''),
  -- Of its secret, 32 random bytes: nobody guesses those, so there is nothing that a slow hash would make slower.
  digest       bytea not null check (octet_length(digest) = 32),
  scopes       text[] not null,
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,                   -- null: never
  revoked_at   timestamptz,
  last_used_at timestamptz                    -- to the minute: not every request is a write
);
create unique index api_token_name on api_token (name) where revoked_at is null;

create table upload (                         -- a form that was signed; what has become of its object is asked of the bucket
  upload_id    text primary key,
  token_id     text not null,                 -- whose request it was
  bucket       text not null,
  key          text not null,
  file_name    text not null,
  content_type text not null,
  size_bytes   bigint not null check (size_bytes > 0),
  sha256       bytea,                         -- if it was announced
  created_at   timestamptz not null default now(),
  valid_until  timestamptz not null,
  arrived_at   timestamptz,                   -- its object was seen, whole
  removed_at   timestamptz,                   -- its recording was deleted again
  unique (bucket, key)
);
create index upload_created on upload (created_at);
