-- Workers that wait for the catalogue to become one of their version of the fingerprint: whoever exchanges it sees that there is somebody to go on.
-- oldest-daemon: 6

create table standing_by (
  worker              text primary key,
  fingerprint_version int not null,                          -- that it makes
  since               timestamptz not null default now(),
  seen_at             timestamptz not null default now()     -- renewed every few seconds; much older: it is gone
);
