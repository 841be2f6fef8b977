-- The two pipelines of a MediaLive channel are one run: what one of them did not deliver is heard from the other's files.
-- oldest-daemon: 6

alter table stream add column spare_url text;  -- medialive: where the channel's other pipeline writes the same programme
create index stream_spare_place on stream (spare_url) where spare_url is not null;

-- The run whose other pipeline wrote this file. Its stream_id is null then: a daemon that knows of one pipeline never meets it.
alter table inbox add column spare_of text;
create index inbox_spare on inbox (spare_of) where spare_of is not null;
