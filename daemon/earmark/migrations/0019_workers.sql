-- Who is there to listen, and how much each has: so that streams are shared among all, and not taken by whoever asks first.
-- oldest-daemon: 6

create table worker (
  worker   text primary key,
  seen_at  timestamptz not null default now(),
  sessions int not null,                    -- live streams that it listens to
  room     boolean not null                 -- it would take more
) with (fillfactor = 70);                   -- rewritten in place every few seconds
