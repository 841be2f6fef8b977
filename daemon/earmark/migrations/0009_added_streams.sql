-- Streams that are always wanted and that somebody added by hand, beside those of the settings.
-- oldest-daemon: 6

create table added_stream (
  name       text primary key,
  url        text not null,                   -- may hold by what right it is heard: shown without it
  kind       text not null check (kind in ('hls', 'radio', 's3')),
  tags       jsonb not null default '{}',
  added_at   timestamptz not null default now(),
  stopped_at timestamptz                      -- not wanted any more; kept, so that what was heard of it can be told
);

-- Which of them is heard now? Asked by every worker, every few seconds.
create index stream_named on stream (channel_name) where state in ('wanted', 'running') and source in ('hls', 'radio');
